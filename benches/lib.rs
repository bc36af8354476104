//! Benchmarks live in `suites/`; this crate only names them.
