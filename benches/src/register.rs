//! What every way of knowing connections can do: a tracker, and the maps beside it.

/// Knows `n` connections.
pub trait Register {
    /// With so many in it.
    fn with(n: usize) -> Self;
    /// One more comes, and goes.
    fn come_and_go(&mut self);
    /// The state of the one at `at` changes, and back.
    fn change(&mut self, at: usize, on: bool);
    /// All of them, counted by state.
    fn count(&mut self) -> usize;
    /// All of them, copied into a buffer that is used again.
    fn snapshot(&mut self) -> usize;
}

/// All numbers below `n`, in an order that no cache foresees.
pub fn order(n: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..n).collect();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    for last in (1..n).rev() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        order.swap(last, (state % (last as u64 + 1)) as usize);
    }
    order
}
