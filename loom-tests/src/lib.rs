//! Nothing here: the models are in `tests/models`, and compile under `--cfg loom` alone.
