//! From a built module to an image in a registry, and back.

mod build;
mod list;
mod meter;
mod pull;
mod push;
mod verify;

pub use build::{Options, image};
pub use list::list;
pub use pull::pull;
pub use push::push;
pub use verify::verify;
