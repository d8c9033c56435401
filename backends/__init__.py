"""Result backends: where results are kept. One module per store, all behind `base.ResultBackend`."""

if __name__ != "taskrunner.backends":
    # Under another name every class here would exist twice, and the copies would not be equal.
    raise ImportError("import taskrunner.backends, not backends: the folder is part of taskrunner")
