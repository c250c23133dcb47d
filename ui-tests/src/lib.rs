//! Nothing here: the programs are in `tests/fail`, each with its good twin of the same name in `tests/pass`.
