import duckdb
import pytest


@pytest.fixture
def warehouse(tmp_path):
    """URL of a warehouse with ten visits a day for the first ten days of March 2024, half of them on a phone."""
    file = tmp_path / "warehouse.duckdb"
    with duckdb.connect(str(file)) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            """
            CREATE TABLE visits AS
            SELECT
              i AS id,
              TIMESTAMPTZ '2024-03-01 00:00:00+00' + to_hours(i::INT * 24 // 10) AS seen,
              CAST(TIMESTAMP '2024-03-01' + to_hours(i::INT * 24 // 10) AS DATE) AS day,
              CASE WHEN i % 2 = 0 THEN 'phone' ELSE 'desk' END AS device,
              (i * 7 % 10)::INTEGER AS pages
            FROM range(100) AS t(i)
            """
        )
    return f"duckdb:///{file}"
