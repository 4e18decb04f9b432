//! Pike's virtual machine: all ways through the program at once, one byte after the other, each place once a byte.

use super::parse::{Assertion, is_word};
use super::program::{Instruction, Program};

/// What a way has noted: a place for each slot.
type Slots = Vec<Option<usize>>;

/// Places in the program, the preferred first, with what the way there has noted.
struct Threads {
    threads: Vec<(usize, Slots)>,
    /// Which places are there already.
    seen: Vec<bool>,
}

impl Threads {
    fn new(program: &Program) -> Self {
        Self { threads: Vec::new(), seen: vec![false; program.len()] }
    }

    fn clear(&mut self) {
        self.threads.clear();
        self.seen.fill(false);
    }

    /// Follows what needs no byte.
    fn add(&mut self, program: &Program, place: usize, slots: Slots, haystack: &[u8], at: usize) {
        // An explicit stack: patterns decide how deep this goes.
        let mut stack = vec![(place, slots)];
        while let Some((place, mut slots)) = stack.pop() {
            match self.seen.get_mut(place) {
                Some(seen) if !*seen => *seen = true,
                _ => continue,
            }
            let next = place.saturating_add(1);
            match program.get(place) {
                Some(Instruction::Jump(to)) => stack.push((*to, slots)),
                Some(Instruction::Split(first, second)) => {
                    stack.push((*second, slots.clone()));
                    stack.push((*first, slots));
                }
                Some(Instruction::Save(slot)) => {
                    if let Some(noted) = slots.get_mut(*slot) {
                        *noted = Some(at);
                    }
                    stack.push((next, slots));
                }
                Some(Instruction::Assert(assertion)) if holds(*assertion, haystack, at) => {
                    stack.push((next, slots));
                }
                Some(Instruction::Byte(_) | Instruction::Match) => self.threads.push((place, slots)),
                Some(Instruction::Assert(_)) | None => {}
            }
        }
    }
}

fn holds(assertion: Assertion, haystack: &[u8], at: usize) -> bool {
    let before = at.checked_sub(1).and_then(|before| haystack.get(before)).copied();
    let after = haystack.get(at).copied();
    let boundary = || before.is_some_and(is_word) != after.is_some_and(is_word);
    match assertion {
        Assertion::TextStart => before.is_none(),
        Assertion::TextEnd => after.is_none(),
        Assertion::LineStart => matches!(before, None | Some(b'\n')),
        Assertion::LineEnd => matches!(after, None | Some(b'\n')),
        Assertion::WordBoundary => boundary(),
        Assertion::NoWordBoundary => !boundary(),
    }
}

/// The slots of the leftmost match from `start` on, as many as wanted; without any, the first match is as good.
pub fn run(program: &Program, slots: usize, haystack: &[u8], start: usize) -> Option<Slots> {
    let (mut now, mut next) = (Threads::new(program), Threads::new(program));
    let mut found = None;
    for at in start..=haystack.len() {
        if found.is_none() {
            now.add(program, 0, vec![None; slots], haystack, at);
        }
        if now.threads.is_empty() && found.is_some() {
            break;
        }
        let byte = haystack.get(at).copied();
        let step = at.saturating_add(1);
        for (place, slots) in now.threads.drain(..) {
            match program.get(place) {
                Some(Instruction::Match) => {
                    // What is less preferred than this is given up.
                    found = Some(slots);
                    break;
                }
                Some(Instruction::Byte(set)) if byte.is_some_and(|byte| set.contains(byte)) => {
                    next.add(program, place.saturating_add(1), slots, haystack, step);
                }
                _ => {}
            }
        }
        if found.is_some() && slots == 0 {
            break;
        }
        now.clear();
        std::mem::swap(&mut now, &mut next);
    }
    found
}
