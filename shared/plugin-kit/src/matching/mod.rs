//! `match`: which requests something applies to.
//!
//! The keys of a condition are ANDed, the items inside a list are ORed, and what is absent is true.

mod condition;
mod path;
mod template;
mod text;

pub use condition::{Condition, Match};
pub use path::{Captures, PathCondition, PathMatch, below};
pub use template::PathTemplate;
pub use text::{NamedMatch, SourceMatch, TextCondition};
