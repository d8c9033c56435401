"""Brokers: where jobs wait. One module or package per store, all behind `base.Broker`."""

if __name__ != "taskrunner.brokers":
    # Under another name every class here would exist twice, and the copies would not be equal.
    raise ImportError("import taskrunner.brokers, not brokers: the folder is part of taskrunner")
