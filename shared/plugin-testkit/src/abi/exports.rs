//! What the SDK exports: the callbacks of a Proxy-Wasm module, as Envoy calls them.

unsafe extern "C" {
    pub(super) safe fn proxy_on_memory_allocate(size: usize) -> *mut u8;

    pub(crate) safe fn proxy_on_context_create(context: u32, root: u32);
    pub(crate) safe fn proxy_on_done(context: u32) -> bool;
    pub(crate) safe fn proxy_on_log(context: u32);
    pub(crate) safe fn proxy_on_delete(context: u32);
    pub(crate) safe fn proxy_on_vm_start(root: u32, size: usize) -> bool;
    pub(crate) safe fn proxy_on_configure(root: u32, size: usize) -> bool;
    pub(crate) safe fn proxy_on_tick(root: u32);

    pub(crate) safe fn proxy_on_request_headers(context: u32, headers: usize, end: bool) -> u32;
    pub(crate) safe fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32;
    pub(crate) safe fn proxy_on_request_trailers(context: u32, trailers: usize) -> u32;
    pub(crate) safe fn proxy_on_response_headers(context: u32, headers: usize, end: bool) -> u32;
    pub(crate) safe fn proxy_on_response_body(context: u32, size: usize, end: bool) -> u32;
    pub(crate) safe fn proxy_on_response_trailers(context: u32, trailers: usize) -> u32;

    pub(crate) safe fn proxy_on_http_call_response(
        root: u32,
        token: u32,
        headers: usize,
        body: usize,
        trailers: usize,
    );
    pub(crate) safe fn proxy_on_grpc_receive(root: u32, token: u32, size: usize);
    pub(crate) safe fn proxy_on_grpc_close(root: u32, token: u32, status: u32);
}
