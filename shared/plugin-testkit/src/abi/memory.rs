//! Memory and environment of the process: counting what a plugin allocates, and the variables of `vmConfig.env`.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

thread_local! {
    static COUNTING: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    let _ = COUNTING.try_with(|counting| {
        if counting.get() {
            COUNT.with(|count| count.set(count.get() + 1));
        }
    });
}

// SAFETY: everything is left to the system's allocator; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as our caller promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as our caller promised.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: as our caller promised.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as our caller promised.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Counting is switched to `on` until this is dropped.
pub(crate) struct Switched(bool);

pub(crate) fn counting(on: bool) -> Switched {
    Switched(COUNTING.with(|counting| counting.replace(on)))
}

impl Drop for Switched {
    fn drop(&mut self) {
        COUNTING.with(|counting| counting.set(self.0));
    }
}

/// How often this thread has allocated while counting was on.
pub(crate) fn counted() -> u64 {
    COUNT.with(Cell::get)
}

/// Sets the variables, calls, and removes them again.
pub(crate) fn with_env<R>(variables: &BTreeMap<String, String>, call: impl FnOnce() -> R) -> R {
    struct Removed<'a>(&'a BTreeMap<String, String>);
    impl Drop for Removed<'_> {
        fn drop(&mut self) {
            for name in self.0.keys() {
                // SAFETY: as below.
                unsafe { std::env::remove_var(name) };
            }
        }
    }
    for (name, value) in variables {
        // SAFETY: the caller holds the lock of this crate, and Rust's own readers of the environment are synchronised
        // with this; tests call no C code that reads it.
        unsafe { std::env::set_var(name, value) };
    }
    let _removed = Removed(variables);
    call()
}
