//! Functions whose code is the same become one: what generics leave behind once types are gone.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use walrus::ir::{VisitorMut, dfs_pre_order_mut};
use walrus::{ElementItems, ExportItem, FunctionId, Module, ModuleConfig};
use wasmparser::{Parser, Payload, TypeRef};

/// Folds until nothing is the same any more: callers of what was folded are often the same then.
///
/// Nothing here compares the addresses of functions, for which Rust promises nothing either.
pub fn fold(mut module: Module) -> Result<Module> {
    loop {
        let (same, parsed) = read(&module.emit_wasm())?;
        module = parsed;
        if same.is_empty() {
            return Ok(module);
        }
        replace(&mut module, &same);
        walrus::passes::gc::run(&mut module);
    }
}

/// The functions that are the same as an earlier one, with that, and the module that they are of.
fn read(wasm: &[u8]) -> Result<(HashMap<FunctionId, FunctionId>, Module)> {
    let ids = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&ids);
    let functions = same_functions(wasm)?;
    let wanted = functions.clone();
    let module = ModuleConfig::new()
        .generate_producers_section(false)
        .on_parse(move |_, indices| {
            let pairs =
                wanted.iter().map(|(copy, first)| Ok((indices.get_func(*copy)?, indices.get_func(*first)?)));
            *seen.lock().expect("nobody panics with it") = pairs.collect::<Result<Vec<_>>>()?;
            Ok(())
        })
        .parse(wasm)?;
    let pairs = std::mem::take(&mut *ids.lock().expect("nobody panics with it"));
    Ok((pairs.into_iter().collect(), module))
}

/// By their indices: functions of the same type and the same bytes as an earlier one, with that.
fn same_functions(wasm: &[u8]) -> Result<Vec<(u32, u32)>> {
    let (mut imported, mut types, mut bodies) = (0_u32, Vec::new(), Vec::new());
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    imported += u32::from(matches!(import?.ty, TypeRef::Func(_)));
                }
            }
            Payload::FunctionSection(functions) => types = functions.into_iter().collect::<Result<_, _>>()?,
            Payload::CodeSectionEntry(body) => bodies.push(body.as_bytes()),
            _ => {}
        }
    }
    let mut first: HashMap<(u32, &[u8]), u32> = HashMap::new();
    let mut same = Vec::new();
    for (index, function) in (imported..).zip(types.into_iter().zip(bodies)) {
        match first.get(&function) {
            Some(earlier) => same.push((index, *earlier)),
            None => drop(first.insert(function, index)),
        }
    }
    Ok(same)
}

fn replace(module: &mut Module, same: &HashMap<FunctionId, FunctionId>) {
    struct Replace<'a>(&'a HashMap<FunctionId, FunctionId>);
    impl VisitorMut for Replace<'_> {
        fn visit_function_id_mut(&mut self, id: &mut FunctionId) {
            *id = self.0.get(id).copied().unwrap_or(*id);
        }
    }

    // A backtrace must not name one function where it means another.
    for (copy, first) in same {
        if module.funcs.get(*copy).name != module.funcs.get(*first).name {
            module.funcs.get_mut(*first).name = None;
        }
    }
    for (_, function) in module.funcs.iter_local_mut() {
        let entry = function.entry_block();
        dfs_pre_order_mut(&mut Replace(same), function, entry);
    }
    for element in module.elements.iter_mut() {
        if let ElementItems::Functions(functions) = &mut element.items {
            functions.iter_mut().for_each(|id| *id = same.get(id).copied().unwrap_or(*id));
        }
    }
    for export in module.exports.iter_mut() {
        if let ExportItem::Function(id) = &mut export.item {
            *id = same.get(id).copied().unwrap_or(*id);
        }
    }
}
