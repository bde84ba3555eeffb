//! No code: `Cargo.toml` switches on features of dependencies, so that all commands share one build of them.
