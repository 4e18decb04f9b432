//! What the SDK holds of a plugin: its callbacks, and nothing else.
//!
//! The SDK calls contexts through trait objects, and a trait object keeps every method alive: the hundred getters and
//! setters that the SDK's traits also offer, with their panics, would be in every module (20 KiB). The SDK never calls
//! those itself, so they are stubs here, and a plugin's `HttpContext` behind the shell is called directly.

use std::time::{Duration, SystemTime};

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, Bytes, GrpcStatusCode, Status};

/// Stubs for the methods that the SDK offers to plugins and never calls.
macro_rules! unused {
    ($(fn $name:ident($($argument:ty),*) $(-> $result:ty)?;)*) => {
        $(fn $name(&self, $(_: $argument),*) $(-> $result)? {
            std::process::abort()
        })*
    };
}

/// The stubs of the SDK's `Context`.
macro_rules! unused_context {
    () => {
        unused! {
            fn get_current_time() -> SystemTime;
            fn get_property(Vec<&str>) -> Option<Bytes>;
            fn set_property(Vec<&str>, Option<&[u8]>);
            fn get_shared_data(&str) -> (Option<Bytes>, Option<u32>);
            fn set_shared_data(&str, Option<&[u8]>, Option<u32>) -> Result<(), Status>;
            fn remove_shared_data(&str, Option<u32>) -> Result<(), Status>;
            fn register_shared_queue(&str) -> u32;
            fn resolve_shared_queue(&str, &str) -> Option<u32>;
            fn dequeue_shared_queue(u32) -> Result<Option<Bytes>, Status>;
            fn enqueue_shared_queue(u32, Option<&[u8]>) -> Result<(), Status>;
            fn dispatch_http_call(&str, Vec<(&str, &str)>, Option<&[u8]>, Vec<(&str, &str)>, Duration) -> Result<u32, Status>;
            fn get_http_call_response_headers() -> Vec<(String, String)>;
            fn get_http_call_response_headers_bytes() -> Vec<(String, Bytes)>;
            fn get_http_call_response_header(&str) -> Option<String>;
            fn get_http_call_response_header_bytes(&str) -> Option<Bytes>;
            fn get_http_call_response_body(usize, usize) -> Option<Bytes>;
            fn get_http_call_response_trailers() -> Vec<(String, String)>;
            fn get_http_call_response_trailers_bytes() -> Vec<(String, Bytes)>;
            fn get_http_call_response_trailer(&str) -> Option<String>;
            fn get_http_call_response_trailer_bytes(&str) -> Option<Bytes>;
            fn dispatch_grpc_call(&str, &str, &str, Vec<(&str, &[u8])>, Option<&[u8]>, Duration) -> Result<u32, Status>;
            fn get_grpc_call_response_body(usize, usize) -> Option<Bytes>;
            fn cancel_grpc_call(u32);
            fn open_grpc_stream(&str, &str, &str, Vec<(&str, &[u8])>) -> Result<u32, Status>;
            fn get_grpc_stream_initial_metadata() -> Vec<(String, Bytes)>;
            fn get_grpc_stream_initial_metadata_value(&str) -> Option<Bytes>;
            fn send_grpc_stream_message(u32, Option<&[u8]>, bool);
            fn get_grpc_stream_trailing_metadata() -> Vec<(String, Bytes)>;
            fn get_grpc_stream_trailing_metadata_value(&str) -> Option<Bytes>;
            fn cancel_grpc_stream(u32);
            fn close_grpc_stream(u32);
            fn get_grpc_status() -> (u32, Option<String>);
            fn call_foreign_function(&str, Option<&[u8]>) -> Result<Option<Bytes>, Status>;
            fn done();
        }

        fn get_grpc_stream_message(&mut self, _: usize, _: usize) -> Option<Bytes> {
            std::process::abort()
        }
    };
}

/// The stubs of the SDK's `RootContext`.
macro_rules! unused_root_context {
    () => {
        unused! {
            fn get_vm_configuration() -> Option<Bytes>;
            fn get_plugin_configuration() -> Option<Bytes>;
            fn set_tick_period(Duration);
        }
    };
}

pub(crate) use {unused, unused_context, unused_root_context};

/// One request's filter, as the SDK holds it.
pub(crate) struct Shell<F>(pub(crate) F);

impl<F: HttpContext> Context for Shell<F> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, trailers: usize) {
        self.0.on_http_call_response(token, headers, body, trailers);
    }

    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        self.0.on_grpc_call_response(token, status, size);
    }

    fn on_done(&mut self) -> bool {
        self.0.on_done()
    }

    unused_context!();
}

impl<F: HttpContext> HttpContext for Shell<F> {
    fn on_http_request_headers(&mut self, headers: usize, end_of_stream: bool) -> Action {
        self.0.on_http_request_headers(headers, end_of_stream)
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.0.on_http_request_body(size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, trailers: usize) -> Action {
        self.0.on_http_request_trailers(trailers)
    }

    fn on_http_response_headers(&mut self, headers: usize, end_of_stream: bool) -> Action {
        self.0.on_http_response_headers(headers, end_of_stream)
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.0.on_http_response_body(size, end_of_stream)
    }

    fn on_http_response_trailers(&mut self, trailers: usize) -> Action {
        self.0.on_http_response_trailers(trailers)
    }

    fn on_log(&mut self) {
        self.0.on_log();
    }

    unused! {
        fn get_http_request_headers() -> Vec<(String, String)>;
        fn get_http_request_headers_bytes() -> Vec<(String, Bytes)>;
        fn set_http_request_headers(Vec<(&str, &str)>);
        fn set_http_request_headers_bytes(Vec<(&str, &[u8])>);
        fn get_http_request_header(&str) -> Option<String>;
        fn get_http_request_header_bytes(&str) -> Option<Bytes>;
        fn set_http_request_header(&str, Option<&str>);
        fn set_http_request_header_bytes(&str, Option<&[u8]>);
        fn add_http_request_header(&str, &str);
        fn add_http_request_header_bytes(&str, &[u8]);
        fn remove_http_request_header(&str);
        fn get_http_request_body(usize, usize) -> Option<Bytes>;
        fn set_http_request_body(usize, usize, &[u8]);
        fn get_http_request_trailers() -> Vec<(String, String)>;
        fn get_http_request_trailers_bytes() -> Vec<(String, Bytes)>;
        fn set_http_request_trailers(Vec<(&str, &str)>);
        fn set_http_request_trailers_bytes(Vec<(&str, &[u8])>);
        fn get_http_request_trailer(&str) -> Option<String>;
        fn get_http_request_trailer_bytes(&str) -> Option<Bytes>;
        fn set_http_request_trailer(&str, Option<&str>);
        fn set_http_request_trailer_bytes(&str, Option<&[u8]>);
        fn add_http_request_trailer(&str, &str);
        fn add_http_request_trailer_bytes(&str, &[u8]);
        fn remove_http_request_trailer(&str);
        fn resume_http_request();
        fn reset_http_request();
        fn get_http_response_headers() -> Vec<(String, String)>;
        fn get_http_response_headers_bytes() -> Vec<(String, Bytes)>;
        fn set_http_response_headers(Vec<(&str, &str)>);
        fn set_http_response_headers_bytes(Vec<(&str, &[u8])>);
        fn get_http_response_header(&str) -> Option<String>;
        fn get_http_response_header_bytes(&str) -> Option<Bytes>;
        fn set_http_response_header(&str, Option<&str>);
        fn set_http_response_header_bytes(&str, Option<&[u8]>);
        fn add_http_response_header(&str, &str);
        fn add_http_response_header_bytes(&str, &[u8]);
        fn remove_http_response_header(&str);
        fn get_http_response_body(usize, usize) -> Option<Bytes>;
        fn set_http_response_body(usize, usize, &[u8]);
        fn get_http_response_trailers() -> Vec<(String, String)>;
        fn get_http_response_trailers_bytes() -> Vec<(String, Bytes)>;
        fn set_http_response_trailers(Vec<(&str, &str)>);
        fn set_http_response_trailers_bytes(Vec<(&str, &[u8])>);
        fn get_http_response_trailer(&str) -> Option<String>;
        fn get_http_response_trailer_bytes(&str) -> Option<Bytes>;
        fn set_http_response_trailer(&str, Option<&str>);
        fn set_http_response_trailer_bytes(&str, Option<&[u8]>);
        fn add_http_response_trailer(&str, &str);
        fn add_http_response_trailer_bytes(&str, &[u8]);
        fn remove_http_response_trailer(&str);
        fn resume_http_response();
        fn reset_http_response();
        fn send_http_response(u32, Vec<(&str, &str)>, Option<&[u8]>);
        fn send_grpc_response(GrpcStatusCode, Option<&str>, Vec<(&str, &[u8])>);
    }
}
