"""How busy and how full this machine's GPUs are, as NVML tells it, at every scrape."""

import importlib
from collections.abc import Iterator
from types import ModuleType

import structlog
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from alerts import names

log = structlog.get_logger()


class DeviceCollector(Collector):
    """Utilisation and memory of every GPU; nothing where there is none, or no `pynvml` (driftwarden[gpu])."""

    def __init__(self) -> None:
        self._nvml = _nvml()

    def describe(self) -> Iterator[Metric]:
        """Return nothing, as the results do."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield a family for each quantity, one child a GPU; a GPU that does not answer is left out and logged."""
        nvml = self._nvml
        if nvml is None:
            return
        families = {
            name: GaugeMetricFamily(name, names.METRICS[name].help, labels=names.METRICS[name].labels)
            for name in (names.DEVICE_UTILISATION, names.DEVICE_MEMORY_USED, names.DEVICE_MEMORY)
        }
        for index in range(nvml.nvmlDeviceGetCount()):
            try:
                handle = nvml.nvmlDeviceGetHandleByIndex(index)
                busy, memory = nvml.nvmlDeviceGetUtilizationRates(handle).gpu, nvml.nvmlDeviceGetMemoryInfo(handle)
            except nvml.NVMLError as error:
                log.warning("device_not_read", device=index, reason=str(error))
                continue
            families[names.DEVICE_UTILISATION].add_metric([str(index)], busy / 100)
            families[names.DEVICE_MEMORY_USED].add_metric([str(index)], memory.used)
            families[names.DEVICE_MEMORY].add_metric([str(index)], memory.total)
        yield from families.values()


def _nvml() -> ModuleType | None:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:  # the library without a driver
        return None
    return nvml
