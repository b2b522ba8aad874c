//! How many transfers to and from the disk run at once. Each has an inference in memory beside what
//! the limits count, so without a gate many challenges at once could fill the memory.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A counting semaphore.
pub(crate) struct Gate {
    free: Mutex<usize>,
    left: Condvar,
}

/// The right to one transfer. Who holds it must not enter again.
pub(crate) struct Pass<'a>(&'a Gate);

impl Gate {
    pub fn new(transfers: usize) -> Self {
        Self { free: Mutex::new(transfers), left: Condvar::new() }
    }

    /// Waits until a transfer may start.
    pub fn enter(&self) -> Pass<'_> {
        let free = self.lock();
        let free = self.left.wait_while(free, |free| *free == 0);
        *free.unwrap_or_else(PoisonError::into_inner) -= 1;
        Pass(self)
    }

    /// A count is right even where a panic went by.
    fn lock(&self) -> MutexGuard<'_, usize> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        *self.0.lock() += 1;
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_than_so_many_are_inside() {
        let (gate, inside) = (Gate::new(2), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    for _ in 0..100 {
                        let _pass = gate.enter();
                        assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(*gate.lock(), 2);
    }
}
