"""GPU metrics from NVML: every device's figures, one that fails left out, nothing without the library."""

import sys
from types import SimpleNamespace

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from monitor.devices import DeviceCollector


class Broken(Exception):
    pass


def read(index: int) -> int:
    if index == 1:
        raise Broken("GPU is lost")
    return index


def exposed() -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(DeviceCollector())
    return generate_latest(registry).decode()


def nvml(*, driver: bool = True) -> SimpleNamespace:
    def init() -> None:
        if not driver:
            raise Broken("no driver")

    return SimpleNamespace(
        NVMLError=Broken,
        nvmlInit=init,
        nvmlDeviceGetCount=lambda: 3,
        nvmlDeviceGetHandleByIndex=read,
        nvmlDeviceGetUtilizationRates=lambda handle: SimpleNamespace(gpu=25 * (handle + 1)),
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=100 + handle, total=1000),
    )


def test_every_gpu_that_answers_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", nvml())
    text = exposed()
    assert 'driftwarden_device_utilisation_ratio{device="0"} 0.25' in text
    assert 'driftwarden_device_utilisation_ratio{device="2"} 0.75' in text
    assert 'driftwarden_device_memory_used_bytes{device="2"} 102.0' in text
    assert 'driftwarden_device_memory_bytes{device="0"} 1000.0' in text
    assert 'device="1"' not in text


def test_without_library_or_driver_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert exposed() == ""
    monkeypatch.setitem(sys.modules, "pynvml", nvml(driver=False))
    assert exposed() == ""
