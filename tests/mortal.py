"""A ledger whose process dies, with no chance to tidy up, before one of its writes."""

import multiprocessing
import os

from flywheel.ledger import Ledger
from flywheel.ledger.store import Client

DIED = 9
WRITES = {
    "create_run",
    "log_artifacts",
    "create_registered_model",
    "create_model_version",
    "set_model_version_tag",
    "delete_model_version_tag",
    "set_registered_model_alias",
    "delete_registered_model_alias",
    "log_batch",
    "set_terminated",
    "delete_registered_model",
}


class _Mortal(Client):
    life = 10**6
    writes = 0

    def __getattr__(self, name):
        method = super().__getattr__(name)
        if name not in WRITES:
            return method

        def call(*args, **options):
            if _Mortal.writes == _Mortal.life:
                os._exit(DIED)
            _Mortal.writes += 1
            return method(*args, **options)

        return call


def killed_before_write(number, uri, act):
    """Call `act` with the ledger at `uri` in a process that dies before that write; return whether it did."""

    def work():
        _Mortal.life, _Mortal.writes = number, 0
        act(Ledger(uri, connect=_Mortal))
        os._exit(0)

    child = multiprocessing.get_context("fork").Process(target=work)
    child.start()
    child.join()
    assert child.exitcode in (0, DIED)
    return child.exitcode == DIED
