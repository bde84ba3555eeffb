//! Whether what is about to be done fits into memory.
//!
//! A system that runs out of memory ends a program without a word, or swaps for hours; so large networks are refused before anything is
//! allocated. Figures are what was measured, not a bound: nothing is refused that is near the limit.

use std::path::Path;

use sysinfo::System;
use thiserror::Error;

/// A network that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error(
    "{file}: needs about {} MB of memory, and {} MB are free; use a machine with more, or end other programs", megabytes(*needed), megabytes(*free)
)]
pub struct TooLarge {
    /// The network's file.
    pub file: String,
    /// Bytes that are needed.
    pub needed: u64,
    /// Bytes that are free.
    pub free: u64,
}

/// Refuses what does not fit; where the system does not say what is free, nothing.
///
/// - `factor`: bytes that are needed for each byte of the file
///
/// # Errors
/// [`TooLarge`] with both figures.
pub fn check(file: &Path, factor: f64) -> Result<(), TooLarge> {
    // A file that cannot be read is refused by whoever reads it.
    let n_bytes = file.metadata().map_or(0, |metadata| metadata.len());
    let needed = (n_bytes as f64 * factor) as u64;
    if needed < SMALL { Ok(()) } else { compare(file, needed, free()) }
}

/// Bytes for which the system is not asked, which takes a while.
const SMALL: u64 = 256 << 20;

fn compare(file: &Path, needed: u64, free: Option<u64>) -> Result<(), TooLarge> {
    match free {
        Some(free) if needed > free => Err(TooLarge { file: file.display().to_string(), needed, free }),
        _ => Ok(()),
    }
}

/// Bytes that the system could give, within the limits of a container.
fn free() -> Option<u64> {
    let mut system = System::new();
    system.refresh_memory();
    let of_system = system.available_memory();
    let of_container = system.cgroup_limits().map(|limits| limits.free_memory);
    Some(of_container.map_or(of_system, |free| free.min(of_system))).filter(|free| *free > 0)
}

fn megabytes(bytes: u64) -> u64 {
    bytes.div_ceil(1_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_with_both_figures() {
        let file = Path::new("runs/x/snn.safetensors");
        let error = compare(file, 2_000_000_000, Some(1_500_000_000)).unwrap_err().to_string();
        assert!(
            error.starts_with("runs/x/snn.safetensors: needs about 2000 MB of memory, and 1500 MB are free"),
            "{error}"
        );
        assert_eq!(compare(file, 1_000, Some(1_000)), Ok(()));
        assert_eq!(compare(file, 1_000, None), Ok(()));
    }

    #[test]
    fn a_file_far_too_large_for_any_machine_is_refused_by_its_size_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("snn.safetensors");
        // Has no blocks on the disk.
        std::fs::File::create(&path).unwrap().set_len(1 << 34).unwrap();
        assert!(check(&path, 1e9).unwrap_err().needed > 1 << 60);
        assert_eq!(check(&path, 0.0), Ok(()));
        assert_eq!(check(&folder.path().join("none"), 1e9), Ok(()));
    }
}
