//! Nothing here: the tests are in `tests/schedules`, and compile under `--cfg shuttle` alone.
