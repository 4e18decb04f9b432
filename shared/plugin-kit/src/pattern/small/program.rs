//! From a tree to a program.

use super::parse::{Assertion, Set, Tree};

/// One instruction; what follows it, unless it says otherwise, is the next one.
#[derive(Clone, Debug)]
pub enum Instruction {
    /// Passes over one byte of the set.
    Byte(Set),
    /// Goes on in two places; the first is preferred.
    Split(usize, usize),
    Jump(usize),
    /// Notes the place in a slot.
    Save(usize),
    Assert(Assertion),
    Match,
}

/// Instructions.
#[derive(Clone, Debug, Default)]
pub struct Program {
    instructions: Vec<Instruction>,
}

impl Program {
    /// Compiles a tree; `None` where the program has more than `limit` instructions.
    pub fn new(tree: &Tree, limit: usize) -> Option<Self> {
        let mut program = Self::default();
        program.compile(tree, limit)?;
        program.push(Instruction::Match, limit)?;
        Some(program)
    }

    pub fn get(&self, at: usize) -> Option<&Instruction> {
        self.instructions.get(at)
    }

    pub fn len(&self) -> usize {
        self.instructions.len()
    }

    fn push(&mut self, instruction: Instruction, limit: usize) -> Option<usize> {
        let at = self.len();
        self.instructions.push(instruction);
        (at < limit).then_some(at)
    }

    fn set(&mut self, at: usize, instruction: Instruction) {
        if let Some(place) = self.instructions.get_mut(at) {
            *place = instruction;
        }
    }

    /// Makes the instruction at `at` a choice between what follows it and `other`.
    fn choose(&mut self, at: usize, other: usize, greedy: bool) {
        let next = at.saturating_add(1);
        self.set(at, if greedy { Instruction::Split(next, other) } else { Instruction::Split(other, next) });
    }

    fn compile(&mut self, tree: &Tree, limit: usize) -> Option<()> {
        match tree {
            Tree::Empty => {}
            Tree::Set(set) => {
                self.push(Instruction::Byte(*set), limit)?;
            }
            Tree::Assert(assertion) => {
                self.push(Instruction::Assert(*assertion), limit)?;
            }
            Tree::Group(number, inner) => {
                let slot = number.saturating_mul(2);
                self.push(Instruction::Save(slot), limit)?;
                self.compile(inner, limit)?;
                self.push(Instruction::Save(slot.saturating_add(1)), limit)?;
            }
            Tree::Concat(items) => {
                for item in items {
                    self.compile(item, limit)?;
                }
            }
            Tree::Alternate(branches) => {
                let mut ends = Vec::new();
                let mut branches = branches.iter().peekable();
                while let Some(branch) = branches.next() {
                    if branches.peek().is_none() {
                        self.compile(branch, limit)?;
                        break;
                    }
                    let split = self.push(Instruction::Match, limit)?;
                    self.compile(branch, limit)?;
                    ends.push(self.push(Instruction::Match, limit)?);
                    self.choose(split, self.len(), true);
                }
                for end in ends {
                    self.set(end, Instruction::Jump(self.len()));
                }
            }
            Tree::Repeat { inner, min, max, greedy } => self.repeat(inner, *min, *max, *greedy, limit)?,
        }
        Some(())
    }

    fn compile_times(&mut self, times: u32, tree: &Tree, limit: usize) -> Option<()> {
        for _ in 0..times {
            let before = self.len();
            self.compile(tree, limit)?;
            // `(?:){1000}{1000}{1000}` has no instructions to run out of.
            if self.len() == before {
                break;
            }
        }
        Some(())
    }

    fn repeat(&mut self, inner: &Tree, min: u32, max: Option<u32>, greedy: bool, limit: usize) -> Option<()> {
        let Some(max) = max else {
            if min == 0 && is_empty(inner) {
                // `(?:x+)?`, as `regex` has it: an empty turn must not hide the one before it.
                let split = self.push(Instruction::Match, limit)?;
                self.repeat(inner, 1, None, greedy, limit)?;
                self.choose(split, self.len(), greedy);
                return Some(());
            }
            if min == 0 {
                let split = self.push(Instruction::Match, limit)?;
                self.compile(inner, limit)?;
                self.push(Instruction::Jump(split), limit)?;
                self.choose(split, self.len(), greedy);
                return Some(());
            }
            self.compile_times(min.saturating_sub(1), inner, limit)?;
            let start = self.len();
            self.compile(inner, limit)?;
            let split = self.push(Instruction::Match, limit)?;
            let next = split.saturating_add(1);
            self.set(
                split,
                if greedy { Instruction::Split(start, next) } else { Instruction::Split(next, start) },
            );
            return Some(());
        };
        self.compile_times(min, inner, limit)?;
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push(self.push(Instruction::Match, limit)?);
            self.compile(inner, limit)?;
        }
        for split in splits {
            self.choose(split, self.len(), greedy);
        }
        Some(())
    }
}

/// Whether a tree matches the empty text.
fn is_empty(tree: &Tree) -> bool {
    match tree {
        Tree::Empty | Tree::Assert(_) => true,
        Tree::Set(_) => false,
        Tree::Group(_, inner) => is_empty(inner),
        Tree::Concat(items) => items.iter().all(is_empty),
        Tree::Alternate(branches) => branches.iter().any(is_empty),
        Tree::Repeat { inner, min, .. } => *min == 0 || is_empty(inner),
    }
}
