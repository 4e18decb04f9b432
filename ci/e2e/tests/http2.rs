//! A plugin cannot tell, and need not, which HTTP the client speaks.

use e2e::Stage;
use harness::Reply;

#[test]
fn http2_clients_get_what_http1_clients_get() {
    let stage = Stage::set().unwrap();
    for scene in &stage.scenes {
        let exchange = |client| stage.exchange(&client, &scene.welcome, Reply::default()).unwrap();
        let http1 = exchange(stage.client(scene));
        let http2 = exchange(stage.http2_client(scene));
        assert_eq!(http2.response.status, http1.response.status, "{}", scene.name);
        let paths = [&http1, &http2].map(|seen| seen.upstream.as_ref().map(|upstream| &upstream.path));
        assert!(paths[0].is_some(), "{}: the upstream was not reached: {http1:?}", scene.name);
        assert_eq!(paths[0], paths[1], "{}", scene.name);
    }
    stage.check_alive().unwrap();
}
