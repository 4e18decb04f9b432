//! A plugin as an OCI image: built, pushed, pulled, and judged as Istio's fetcher judges it.

pub mod archive;
pub mod document;
pub mod layout;
pub mod rules;

mod credentials;
mod image;
mod remote;

pub use image::{About, Blob, Form, Image};
pub use layout::Layout;
pub use remote::{Reference, Remote, reference};
pub use rules::{Accepted, Refused, Store, judge};
