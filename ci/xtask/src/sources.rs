//! What a source file says that an invariant is about; code under `#[cfg(test)]` is left out.

use std::collections::BTreeSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Ident, ImplItem, ItemImpl, ItemMod, ItemStatic, Macro, Path, Token, TypeParamBound,
    TypeTraitObject, UseTree,
};

/// The traits whose `on_*` Envoy calls, by way of the SDK or of the kit.
const TRAITS: &[&str] = &["HttpContext", "Context", "Plugin"];

#[derive(Default)]
pub struct Source {
    /// The callbacks that `plugin!` names.
    pub declared: BTreeSet<String>,
    /// The `on_*` methods of [`TRAITS`] that are implemented.
    pub implemented: BTreeSet<String>,
    pub statics: Vec<String>,
    pub names_proxy_wasm: bool,
    /// `dyn HttpContext` or another trait of the SDK.
    pub has_dyn_context: bool,
    /// Also in the bodies of macros.
    pub has_unsafe: bool,
}

impl Source {
    pub fn parse(text: &str) -> syn::Result<Self> {
        let mut source = Self { has_unsafe: says_unsafe(text.parse()?), ..Self::default() };
        source.visit_file(&syn::parse_file(text)?);
        Ok(source)
    }
}

fn says_unsafe(tokens: TokenStream) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => says_unsafe(group.stream()),
        TokenTree::Ident(ident) => ident == "unsafe",
        _ => false,
    })
}

impl<'ast> Visit<'ast> for Source {
    fn visit_item_mod(&mut self, module: &'ast ItemMod) {
        if !is_for_tests(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_impl(&mut self, implementation: &'ast ItemImpl) {
        if is_for_tests(&implementation.attrs) {
            return;
        }
        let name = implementation.trait_.as_ref().and_then(|(_, path, _)| path.segments.last());
        if name.is_some_and(|name| TRAITS.iter().any(|known| name.ident == known)) {
            let methods = implementation.items.iter().filter_map(|item| match item {
                ImplItem::Fn(method) => Some(method.sig.ident.to_string()),
                _ => None,
            });
            self.implemented.extend(methods.filter(|method| method.starts_with("on_")));
        }
        visit::visit_item_impl(self, implementation);
    }

    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        self.statics.push(format!("static {}", item.ident));
    }

    fn visit_macro(&mut self, call: &'ast Macro) {
        match call.path.segments.last().map(|segment| segment.ident.to_string()).as_deref() {
            Some("thread_local") => self.statics.push("thread_local!".into()),
            Some("plugin") => {
                if let Ok(declaration) = call.parse_body::<Declaration>() {
                    self.declared.extend(declaration.callbacks.iter().map(Ident::to_string));
                }
            }
            _ => {}
        }
        visit::visit_macro(self, call);
    }

    fn visit_type_trait_object(&mut self, object: &'ast TypeTraitObject) {
        self.has_dyn_context |= object.bounds.iter().any(|bound| match bound {
            TypeParamBound::Trait(bound) => {
                bound.path.segments.last().is_some_and(|name| name.ident.to_string().ends_with("Context"))
            }
            _ => false,
        });
        visit::visit_type_trait_object(self, object);
    }

    fn visit_use_tree(&mut self, tree: &'ast UseTree) {
        if let UseTree::Path(path) = tree {
            self.names_proxy_wasm |= path.ident == "proxy_wasm";
        }
        visit::visit_use_tree(self, tree);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.names_proxy_wasm |= path.segments.iter().any(|segment| segment.ident == "proxy_wasm");
        visit::visit_path(self, path);
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg") && attribute.parse_args::<Ident>().is_ok_and(|cfg| cfg == "test")
    })
}

/// `plugin!(Name: callback, callback)`.
struct Declaration {
    callbacks: Punctuated<Ident, Token![,]>,
}

impl Parse for Declaration {
    fn parse(input: ParseStream) -> syn::Result<Self> {
        input.parse::<Ident>()?;
        input.parse::<Token![:]>()?;
        Ok(Self { callbacks: Punctuated::parse_terminated(input)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_is_declared_and_what_is_implemented() {
        let source = Source::parse(
            "plugin_kit::plugin!(Guard: on_http_request_headers, on_tick);
             impl Plugin for Guard { fn new() {} fn on_tick(&mut self) {} }
             impl proxy_wasm::traits::HttpContext for Filter { fn on_log(&mut self) {} }
             impl Other for Filter { fn on_other(&mut self) {} }
             #[cfg(test)] mod tests { impl Context for Fake { fn on_done(&mut self) -> bool { true } } }",
        )
        .unwrap();
        assert_eq!(Vec::from_iter(source.declared), ["on_http_request_headers", "on_tick"]);
        assert_eq!(Vec::from_iter(source.implemented), ["on_log", "on_tick"]);
    }

    #[test]
    fn finds_statics_wherever_they_hide() {
        let source = Source::parse(
            "fn f(text: &'static str) { static SEEN: u8 = 0; }
             thread_local! { static TABLE: u8 = 0; }
             const LIMIT: u8 = 1;",
        )
        .unwrap();
        assert_eq!(source.statics, ["static SEEN", "thread_local!"]);
    }

    #[test]
    fn finds_the_proxy_in_paths_and_imports() {
        for text in ["use proxy_wasm::types::Action;", "fn f() -> proxy_wasm::types::Action { todo!() }"] {
            assert!(Source::parse(text).unwrap().names_proxy_wasm, "{text}");
        }
        assert!(!Source::parse("//! Not proxy_wasm.\nuse plugin_kit::headers;").unwrap().names_proxy_wasm);
    }

    #[test]
    fn finds_the_traits_of_the_sdk_as_objects() {
        assert!(Source::parse("fn f(context: &dyn proxy_wasm::traits::Context) {}").unwrap().has_dyn_context);
        assert!(
            !Source::parse("fn f(context: &impl Context, text: &dyn Display) {}").unwrap().has_dyn_context
        );
    }

    #[test]
    fn finds_unsafe_in_macros_but_not_in_comments() {
        assert!(Source::parse("macro_rules! m { () => { unsafe { f() } } }").unwrap().has_unsafe);
        assert!(!Source::parse("// unsafe\n#![allow(unsafe_code)]").unwrap().has_unsafe);
    }
}
