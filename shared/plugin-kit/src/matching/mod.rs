//! `match`: which requests something applies to.
//!
//! The keys of a condition are ANDed, the items inside a list are ORed, and what is absent is true.

pub mod ambiguity;
mod condition;
mod first_match;
mod path;
mod template;
mod text;

pub use ambiguity::{Ambiguities, Ambiguity, toggle_trailing_slash};
pub use condition::{Condition, Match};
pub use first_match::{AmbiguousPaths, FirstMatch};
pub use path::{Captures, PathCondition, PathKind, PathMatch, PathShape, Spellings, below};
pub use template::PathTemplate;
pub use text::{NamedMatch, SourceMatch, TextCondition};
