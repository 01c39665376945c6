"""Settings of adapters are held against their rules when they are given, and before a system is asked."""

from __future__ import annotations

import importlib
import inspect
import math
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest

from eip_ref import field
from eip_ref.field.kafka_member import Member
from eip_ref.field.queue import Unsupported
from eip_ref.field.redis_log import RedisGroup, RedisLog

URL = "none://nowhere"
NO_COUNT = [math.nan, math.inf, -1, 1.5, True, "1"]
NO_DURATION = [math.nan, -1.0, True, "1"]
NO_NAME = ["", "a\0b", 7, None]
ANYTHING = ("acks",)  #: which the system knows, or refuses


def adapters() -> Iterator[type]:
    """The classes that reach a system at a URL, under a name."""
    for found in pkgutil.iter_modules(field.__path__):
        try:
            module = importlib.import_module(f"{field.__name__}.{found.name}")
        except ModuleNotFoundError:  # its client cannot be had together with the others
            continue
        for made in (getattr(module, name) for name in getattr(module, "__all__", ())):
            is_adapter = inspect.isclass(made) and not inspect.isabstract(made) and made is not Member
            if is_adapter and made.__module__ == module.__name__:
                parameters = () if issubclass(made, Exception) else inspect.signature(made).parameters
                if [*parameters][:2] == ["url", "name"]:
                    yield made


def _wrong_settings() -> Iterator[Any]:
    for made in adapters():
        for name, parameter in inspect.signature(made).parameters.items():
            kind = str(parameter.annotation).split(" |")[0]
            wrong = {"int": NO_COUNT, "float": NO_DURATION}.get(kind, [])
            if name == "name":
                wrong = NO_NAME
            for each in wrong if name not in ANYTHING else ():
                yield pytest.param(made, name, each, id=f"{made.__name__}.{name}={each!r}")


@pytest.mark.parametrize(("made", "name", "wrong"), list(_wrong_settings()))
def test_a_wrong_setting_is_refused_by_its_name(made: Any, name: str, wrong: Any) -> None:
    """A server may take 0 or -1 for "no bound", and an unknown name for its own."""
    with pytest.raises((ValueError, Unsupported)) as refused:
        made(**{"url": URL, "name": "orders", name: wrong})
    assert name in str(refused.value) or refused.type is Unsupported  # whatever it is


@pytest.mark.parametrize("wrong", [*NO_COUNT, 0, None])
@pytest.mark.parametrize(
    "made", [each for each in adapters() if hasattr(each, "subscribe")], ids=lambda made: made.__name__
)
async def test_a_wrong_capacity_of_a_subscription_is_refused(made: Any, wrong: Any) -> None:
    """Before anything is subscribed: some clients take 0 for "no bound"."""
    with pytest.raises(ValueError, match="capacity must be"):
        await made(URL, "shop").subscribe("orders.*", capacity=wrong)


@pytest.mark.parametrize("wrong", [*NO_COUNT, None])
async def test_a_wrong_place_of_a_group_is_refused(wrong: Any) -> None:
    """Redis would keep it, and whoever came next would find it there."""
    with pytest.raises(ValueError, match="offset must be"):
        await RedisGroup(RedisLog(URL, "orders"), "billing").seek(wrong)
