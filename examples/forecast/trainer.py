"""Boosted trees that minimise what is judged: the mean absolute error."""

from sklearn.ensemble import HistGradientBoostingRegressor

from flywheel.trainers.boosting import categorical
from flywheel.training.context import TrainContext
from flywheel.training.sklearn import matrix


def train(context: TrainContext) -> HistGradientBoostingRegressor:
    columns, departures = context.train.arrays()
    model = HistGradientBoostingRegressor(
        loss="absolute_error",
        categorical_features=categorical(context.features),
        random_state=context.seed,
        **{"learning_rate": 0.05, "max_iter": 200} | context.parameters,
    )
    return model.fit(matrix(columns), departures)
