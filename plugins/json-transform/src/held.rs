//! Bodies in the making, and how much all of them may take.
//!
//! They are held here and not in the proxy's buffer (`Action::Pause`): Envoy refuses what does not fit there, which at
//! Istio's gateways is 32 KiB, and Envoy 1.40 ends where a response in it grows beyond.

use std::cell::Cell;
use std::rc::Rc;

/// What all bodies of one worker may take together, in bytes.
#[derive(Debug)]
pub struct Budget(Cell<usize>);

impl Budget {
    /// Nothing is held yet.
    pub fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self(Cell::new(bytes)))
    }
}

/// The body of one message, as far as it is here.
#[derive(Debug)]
pub struct Held {
    bytes: Vec<u8>,
    budget: Rc<Budget>,
}

impl Held {
    /// Nothing yet.
    pub fn new(budget: &Rc<Budget>) -> Self {
        Self { bytes: Vec::new(), budget: Rc::clone(budget) }
    }

    /// Appends a piece; `false`, and nothing happens, where the message would be larger than `max`, or all of them
    /// together than the budget.
    pub fn append(&mut self, piece: Vec<u8>, max: usize) -> bool {
        let left = self.budget.0.get().checked_sub(piece.len());
        match left {
            Some(left) if self.bytes.len().saturating_add(piece.len()) <= max => {
                self.budget.0.set(left);
                if self.bytes.is_empty() {
                    self.bytes = piece;
                } else {
                    self.bytes.extend_from_slice(&piece);
                }
                true
            }
            _ => false,
        }
    }

    /// All of it.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.0.set(self.budget.0.get().saturating_add(self.bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_bounded_alone_and_all_of_them_together() {
        let budget = Budget::new(10);
        let mut one = Held::new(&budget);
        assert!(!one.append(b"1234567".to_vec(), 6));
        assert!(one.append(b"1234".to_vec(), 6));
        assert!(one.append(b"56".to_vec(), 6));
        assert!(!one.append(b"7".to_vec(), 6));
        let mut other = Held::new(&budget);
        assert!(!other.append(b"12345".to_vec(), 6));
        assert!(other.append(b"1234".to_vec(), 6));
        assert_eq!((one.bytes(), other.bytes()), (&b"123456"[..], &b"1234"[..]));
        drop(one);
        assert!(other.append(b"56".to_vec(), 6));
    }
}
