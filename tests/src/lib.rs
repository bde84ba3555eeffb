//! Checks of the workspace as a whole; there is nothing but tests, in `tests/`.
