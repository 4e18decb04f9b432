//! Does one thing many times in every request, so that what it costs once can be told: `ci/bench/lua/operations.lua` does
//! the same. The configuration is `<operation> <times>`.

use std::hint::black_box;
use std::rc::Rc;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MapType, MetricType};
use regex::bytes::Regex;

#[cfg(target_family = "wasm")]
proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| -> Box<dyn RootContext> { Box::new(Root(None)) });
}}

pub struct Root(Option<Rc<Probe>>);

struct Probe {
    operation: String,
    times: u32,
    regex: Regex,
    metric: u32,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let text = self.get_plugin_configuration().unwrap_or_default();
        let text = String::from_utf8(text).expect("the benchmark writes text");
        let (operation, times) = text.split_once(' ').expect("an operation and a number");
        self.0 = Some(Rc::new(Probe {
            operation: operation.into(),
            times: times.parse().expect("a number"),
            regex: Regex::new("banana/([0-9]*)").expect("an expression"),
            metric: hostcalls::define_metric(MetricType::Counter, "probe").expect("a counter"),
        }));
        true
    }

    fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
        self.0.as_ref().map(|probe| Box::new(Filter(Rc::clone(probe))) as Box<dyn HttpContext>)
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Filter(Rc<Probe>);

impl Context for Filter {}

impl HttpContext for Filter {
    fn on_http_request_headers(&mut self, _num_headers: usize, _end_of_stream: bool) -> Action {
        for _ in 0..self.0.times {
            self.0.once();
        }
        Action::Continue
    }
}

impl Probe {
    fn once(&self) {
        const REQUEST: MapType = MapType::HttpRequestHeaders;
        match self.operation.as_str() {
            "nothing" => {}
            "read-header" => {
                let _ = black_box(hostcalls::get_map_value_bytes(REQUEST, "x-user-id"));
            }
            "read-absent-header" => {
                let _ = black_box(hostcalls::get_map_value_bytes(REQUEST, "x-absent"));
            }
            "read-all-headers" => {
                let _ = black_box(hostcalls::get_map_bytes(REQUEST));
            }
            "write-header" => {
                let _ = hostcalls::set_map_value_bytes(REQUEST, "x-lane", Some(b"canary"));
            }
            "read-property" => {
                let _ = black_box(hostcalls::get_property(vec!["source", "address"]));
            }
            "read-header-property" => {
                let _ = black_box(hostcalls::get_property(vec!["request", "headers", "x-user-id"]));
            }
            "write-filter-state" => {
                let _ = hostcalls::set_property(vec!["lane"], Some(b"canary"));
            }
            "count" => {
                let _ = hostcalls::increment_metric(self.metric, 1);
            }
            "read-clock" => {
                let _ = black_box(hostcalls::get_current_time());
            }
            "hash" => {
                black_box(crc32(black_box(b"release-42:7d444840-9dc0-11d1-b245-5ffdce74fad2")));
            }
            "regex" => {
                black_box(self.regex.replace_all(black_box(b"/banana/418"), &b"status/$1"[..]));
            }
            other => panic!("no operation {other}"),
        }
    }
}

/// CRC-32 as in zip, a bit at a time, as the script has it.
fn crc32(data: &[u8]) -> u32 {
    !data.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ 0xedb8_8320 & (crc & 1).wrapping_neg())
    })
}
