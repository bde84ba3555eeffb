//! The allocator that every command runs with, and its settings.
//!
//! The system's allocator gives large tensors back at once and has their pages cleared again for the next one: a third of the time of
//! training a convolutional network. mimalloc keeps them, if it is told to.

use std::alloc::{GlobalAlloc, Layout};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};

use mimalloc::MiMalloc;

/// `mi_option_arena_eager_commit`, by its place in mimalloc's list of options: the crate does not export the experimental ones.
const ARENA_EAGER_COMMIT: c_int = 4;

/// `mi_option_purge_delay`.
const PURGE_DELAY: c_int = 15;

/// mimalloc with settings for long computations, for use as a command's `#[global_allocator]`.
///
/// - Freed memory stays with the process, for the next batch of samples needs it: what goes back to the system in between has to be
///   cleared again, which takes a tenth of the time of a simulation.
/// - Memory that is not needed is not committed ahead: in huge pages, up to a quarter of a simulation's were never used.
///
/// The environment variables `MIMALLOC_PURGE_DELAY` and `MIMALLOC_ARENA_EAGER_COMMIT` override both.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allocator;

/// Tells mimalloc the settings before its first allocation: it reads them when it reserves memory, which happens before `main`.
#[inline]
fn configure() {
    static IS_CONFIGURED: AtomicBool = AtomicBool::new(false);
    if !IS_CONFIGURED.load(Ordering::Relaxed) {
        set_defaults();
        IS_CONFIGURED.store(true, Ordering::Relaxed);
    }
}

#[cold]
#[allow(unsafe_code, reason = "a setting of a C library")]
fn set_defaults() {
    // SAFETY: the function checks the option's number and writes a static table; threads that race write the same values.
    unsafe {
        libmimalloc_sys::mi_option_set_default(PURGE_DELAY, -1);
        libmimalloc_sys::mi_option_set_default(ARENA_EAGER_COMMIT, 0);
    }
}

#[allow(unsafe_code, reason = "the trait is unsafe; every call is passed on as it is")]
// SAFETY: mimalloc keeps the trait's contract, and nothing here touches layouts or memory.
unsafe impl GlobalAlloc for Allocator {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        configure();
        unsafe { MiMalloc.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        configure();
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        unsafe { MiMalloc.dealloc(memory, layout) }
    }

    #[inline]
    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        unsafe { MiMalloc.realloc(memory, layout, new_size) }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[global_allocator]
    static ALLOCATOR: Allocator = Allocator;

    #[allow(unsafe_code, reason = "a setting of a C library")]
    fn setting(option: c_int) -> i64 {
        // SAFETY: the function checks the option's number and reads a static table.
        unsafe { libmimalloc_sys::mi_option_get(option) }
    }

    /// What the test below asks of itself in another process.
    const ASKED: &str = "ASKED_FOR_SETTINGS";

    #[test]
    fn settings_are_those_that_commands_run_with_unless_the_environment_has_others() {
        if std::env::var_os(ASKED).is_some() {
            println!("settings {} {}", setting(PURGE_DELAY), setting(ARENA_EAGER_COMMIT));
            return;
        }
        let settings = |environment: &[(&str, &str)]| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args([
                "--exact",
                "--nocapture",
                "allocator::tests::settings_are_those_that_commands_run_with_unless_the_environment_has_others",
            ]);
            command.env_remove("MIMALLOC_PURGE_DELAY").env_remove("MIMALLOC_ARENA_EAGER_COMMIT").env(ASKED, "");
            let output = command.envs(environment.iter().copied()).output().unwrap().stdout;
            let text = String::from_utf8(output).unwrap();
            text.lines().find_map(|line| Some(line.split_once("settings ")?.1.to_owned())).unwrap()
        };
        assert_eq!(settings(&[]), "-1 0");
        // That these names set these values shows that the numbers of the options are the right ones.
        assert_eq!(settings(&[("MIMALLOC_PURGE_DELAY", "77"), ("MIMALLOC_ARENA_EAGER_COMMIT", "1")]), "77 1");
    }
}
