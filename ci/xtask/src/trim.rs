//! What is done to a module after linking: the exports, bodies and names that no proxy asks for go.
//!
//! Envoy calls every callback that a module exports, and each call into the VM costs; so only those that the plugin
//! declares stay.

use std::collections::HashSet;

use anyhow::{Context, Result, bail};
use walrus::ir::{Visitor, dfs_in_order};
use walrus::{FunctionBuilder, FunctionId, FunctionKind, Module, ModuleConfig};

use crate::callbacks;
use crate::fold::fold;
use crate::names::short;

/// Where the kit's `plugin!` writes the declared callbacks, a line each.
const DECLARATION: &str = "plugin_callbacks";

/// A module as it ships.
pub struct Trimmed {
    pub wasm: Vec<u8>,
    /// The declared callbacks, by their names in the SDK.
    pub callbacks: Vec<String>,
}

pub fn trim(linked: &[u8]) -> Result<Trimmed> {
    let mut module = ModuleConfig::new().generate_producers_section(false).parse(linked)?;
    let callbacks = declared(&mut module)?;
    drop_exports(&mut module, &callbacks)?;
    empty_unused_defaults(&mut module);
    walrus::passes::gc::run(&mut module);
    for function in module.funcs.iter_mut() {
        // An import has its name already.
        let is_local = matches!(function.kind, FunctionKind::Local(_));
        function.name = function.name.as_deref().filter(|_| is_local).and_then(short);
    }
    let mut module = fold(module)?;
    module.customs.remove_raw("target_features");
    Ok(Trimmed { wasm: module.emit_wasm(), callbacks })
}

fn declared(module: &mut Module) -> Result<Vec<String>> {
    let section = module.customs.remove_raw(DECLARATION).with_context(|| {
        format!("no section {DECLARATION:?}: lib.rs must say plugin_kit::plugin!(Name: callbacks)")
    })?;
    let text = String::from_utf8(section.data).context("the declaration of the callbacks is not UTF-8")?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn drop_exports(module: &mut Module, callbacks: &[String]) -> Result<()> {
    let mut missing = callbacks::exports(callbacks.iter().map(String::as_str))?;
    let mut unused = Vec::new();
    for export in module.exports.iter() {
        if !missing.remove(export.name.as_str()) && export.name.starts_with("proxy_on_") {
            unused.push(export.id());
        }
    }
    if let Some(name) = missing.first() {
        bail!("the module does not export {name}, which Envoy needs");
    }
    for id in unused {
        module.exports.delete(id);
    }
    Ok(())
}

/// Empties the SDK's default methods that only a vtable refers to.
///
/// The SDK's trait objects keep a hundred getters and setters alive that the SDK never calls through them. A plugin
/// that uses one calls it directly, and then it stays; that none has a `dyn Context` is tested.
fn empty_unused_defaults(module: &mut Module) {
    let called = called(module);
    let unused: Vec<FunctionId> = module
        .funcs
        .iter_local()
        .map(|(id, _)| id)
        .filter(|id| !called.contains(id))
        .filter(|id| module.funcs.get(*id).name.as_deref().is_some_and(is_never_called_through_a_vtable))
        .collect();
    for id in unused {
        let ty = module.types.get(module.funcs.get(id).ty());
        let (params, results) = (ty.params().to_vec(), ty.results().to_vec());
        let mut body = FunctionBuilder::new(&mut module.types, &params, &results);
        body.func_body().unreachable();
        let arguments = params.iter().map(|param| module.locals.add(*param)).collect();
        let function = module.funcs.get_mut(id);
        function.kind = FunctionKind::Local(body.local_func(arguments));
        // Hundreds of names that no backtrace will show.
        function.name = None;
    }
}

/// Whether this is a default method of one of the SDK's traits which is for plugins to call, not for the SDK.
fn is_never_called_through_a_vtable(symbol: &str) -> bool {
    let name = format!("{:#}", rustc_demangle::demangle(symbol));
    let Some((context, method)) =
        name.strip_prefix("proxy_wasm::traits::").and_then(|rest| rest.split_once("::"))
    else {
        return false;
    };
    matches!(context, "Context" | "RootContext" | "StreamContext" | "HttpContext")
        && !method.starts_with("on_")
        && !method.starts_with("create_")
        && method != "get_type"
}

/// The functions that code names: called, or taken the address of, otherwise than through a table.
fn called(module: &Module) -> HashSet<FunctionId> {
    struct Called(HashSet<FunctionId>);
    impl Visitor<'_> for Called {
        fn visit_function_id(&mut self, id: &FunctionId) {
            self.0.insert(*id);
        }
    }

    let mut called = Called(HashSet::from_iter(module.start));
    for (_, function) in module.funcs.iter_local() {
        dfs_in_order(&mut called, function, function.entry_block());
    }
    called.0
}

#[cfg(test)]
mod tests {
    use super::*;

    const GETTER: &str = "_ZN10proxy_wasm6traits11HttpContext24get_http_request_headers17h0123456789abcdefE";
    const CALLBACK: &str = "_ZN10proxy_wasm6traits11HttpContext6on_log17h0123456789abcdefE";

    /// A module with every export of the ABI, a vtable of `$defaults`, and the declaration of `callbacks`.
    fn linked(callbacks: &str, defaults: &str, body: &str) -> Vec<u8> {
        let exports: String = callbacks::ALWAYS
            .iter()
            .filter(|name| **name != "memory")
            .chain(&["proxy_on_request_headers", "proxy_on_log", "proxy_on_queue_ready"])
            .map(|name| format!("(func (export {name:?}) {body})"))
            .collect();
        let module = format!(
            "(module (memory (export \"memory\") 1) {exports}
               (func ${defaults} (param i32) (result i32) i32.const 7 i32.const 8 i32.add)
               (table 1 funcref) (elem (i32.const 0) ${defaults})
               (func (export \"vtable\") (param i32) (result i32)
                 local.get 0 i32.const 0 call_indirect (param i32) (result i32))
               {callbacks})"
        );
        wat::parse_str(module).unwrap()
    }

    fn declaring(callbacks: &str) -> String {
        format!("(@custom \"plugin_callbacks\" {:?})", callbacks)
    }

    fn text(wasm: &[u8]) -> String {
        let module = Module::from_buffer(wasm).unwrap();
        let mut lines = Vec::new();
        for export in module.exports.iter() {
            lines.push(export.name.clone());
        }
        lines.join(" ")
    }

    #[test]
    fn keeps_the_exports_of_declared_callbacks_only() {
        let trimmed = trim(&linked(&declaring("on_log\n"), CALLBACK, "")).unwrap();
        assert_eq!(trimmed.callbacks, ["on_log"]);
        let exports = text(&trimmed.wasm);
        assert!(exports.contains("proxy_on_log") && exports.contains("proxy_on_configure"), "{exports}");
        assert!(!exports.contains("proxy_on_request_headers"), "{exports}");
        assert!(!exports.contains("proxy_on_queue_ready"), "{exports}");
    }

    #[test]
    fn the_declaration_does_not_ship() {
        let trimmed = trim(&linked(&declaring("on_log\n"), CALLBACK, "")).unwrap();
        assert!(!trimmed.wasm.windows(DECLARATION.len()).any(|window| window == DECLARATION.as_bytes()));
    }

    #[test]
    fn a_module_that_declares_nothing_is_refused() {
        let error = trim(&linked("", CALLBACK, "")).err().unwrap().to_string();
        assert!(error.contains("plugin_kit::plugin!"), "{error}");
    }

    #[test]
    fn a_callback_without_its_export_is_refused() {
        let error = trim(&linked(&declaring("on_tick\n"), CALLBACK, "")).err().unwrap().to_string();
        assert_eq!(error, "the module does not export proxy_on_tick, which Envoy needs");
    }

    #[test]
    fn a_getter_in_a_vtable_becomes_a_trap() {
        let wasm = trim(&linked(&declaring(""), GETTER, "")).unwrap().wasm;
        let module = Module::from_buffer(&wasm).unwrap();
        assert_eq!(module.funcs.by_name("HttpContext::get_http_request_headers"), None);
        let sizes = module.funcs.iter_local().map(|(_, function)| function.size());
        assert_eq!(sizes.filter(|size| *size == 1).count(), 1);
    }

    #[test]
    fn a_getter_that_is_called_stays() {
        let call = format!("i32.const 0 call ${GETTER} drop");
        let wasm = trim(&linked(&declaring(""), GETTER, &call)).unwrap().wasm;
        assert_eq!(instructions_of(&wasm, "HttpContext::get_http_request_headers"), 3);
    }

    #[test]
    fn a_callback_in_a_vtable_stays() {
        let wasm = trim(&linked(&declaring(""), CALLBACK, "")).unwrap().wasm;
        assert_eq!(instructions_of(&wasm, "HttpContext::on_log"), 3);
    }

    fn instructions_of(wasm: &[u8], name: &str) -> u64 {
        let module = Module::from_buffer(wasm).unwrap();
        module.funcs.get(module.funcs.by_name(name).unwrap()).kind.unwrap_local().size()
    }
}
