//! Warnings about a configuration that is accepted.

use super::*;

const FORGEABLE: &str = "clientIp: on a sidecar or waypoint, source.address is the last entry of x-forwarded-for, which \
                         a client can write; decide by it only behind a gateway that sets the header";

/// What a sidecar's inbound listener logs for this configuration.
fn lines_of(config: &Value) -> Vec<String> {
    let builder = Envoy::builder().cluster(CLUSTER, Cluster::Healthy);
    let builder =
        builder.property(&["xds", "node", "id"], "sidecar~10.0.0.1~shop.demo~demo.svc.cluster.local");
    builder.property(&["xds", "listener_direction"], 1_u64.to_le_bytes()).start::<ExtAuth>(config).log_lines()
}

/// By path, so that the address is not a part of the call.
fn by_path(more: Value) -> Value {
    let mut config = config(json!({"service": {"cluster": CLUSTER, "pathPrefix": "/auth"}, "rules": []}));
    for (name, value) in more.as_object().unwrap() {
        config[name] = value.clone();
    }
    config
}

#[test]
fn warns_of_a_rule_that_opens_every_path() {
    let open = |matches: Value| by_path(json!({"rules": [{"match": matches, "ask": false}]}));
    for matches in [
        json!({}),
        json!({"not": {"paths": [{"prefix": "/members"}]}}),
        json!({"paths": [{"prefix": "/"}], "not": {"paths": [{"prefix": "/members"}]}}),
        json!({"paths": [{"regex": "^/"}, {"exact": "/healthz"}]}),
        json!({"paths": [{"template": "/{rest=**}"}]}),
        json!({"hosts": ["*"]}),
        json!({"headers": [{"name": "x-internal", "exact": "1"}]}),
        json!({"headers": [{"name": "host", "exact": "a"}, {"name": "x-internal", "exact": "1"}]}),
        json!({"any": [{"paths": [{"prefix": "/open"}]}, {"not": {"hosts": ["admin.example.com"]}}]}),
        json!({"values": [{"source": "path", "prefix": "/members", "invert": true}]}),
    ] {
        let line = "rules[0] has ask: false and matches any path: requests pass without a check unless an earlier rule \
                    matches. List the open paths instead";
        assert_eq!(lines_of(&open(matches.clone())), [line], "{matches}");
    }
    for matches in [
        json!({"paths": [{"prefix": "/open"}]}),
        json!({"paths": [{"prefix": "/open"}], "not": {"methods": ["POST"]}}),
        json!({"hosts": ["status.example.com"]}),
        json!({"methods": ["OPTIONS"]}),
        json!({"headers": [{"name": "host", "exact": "status.example.com"}]}),
        json!({"any": [{"paths": [{"prefix": "/open"}]}, {"paths": [{"exact": "/healthz"}]}]}),
        json!({"values": [{"source": "pathSegment:1", "exact": "open"}]}),
    ] {
        assert_eq!(lines_of(&open(matches.clone())), [""; 0], "{matches}");
    }
}

#[test]
fn warns_once_of_several_rules_and_not_of_rules_that_are_stricter() {
    let rules = json!([
        {"match": {"paths": [{"prefix": "/open"}]}, "ask": false},
        {"match": {"not": {"paths": [{"prefix": "/members"}]}}},
        {"match": {"not": {"paths": [{"prefix": "/a"}]}}, "ask": false},
        {"ask": false},
    ]);
    let lines = lines_of(&by_path(json!({"rules": rules})));
    assert!(lines.len() == 1 && lines[0].starts_with("rules[2] has ask: false"), "{lines:?}");
}

#[test]
fn warns_of_requests_that_pass_without_a_decision() {
    let soft = json!([{}, {"match": {"methods": ["GET"]}, "failure": "allow"}]);
    for (more, field) in [
        (json!({"failure": "allow"}), "failure"),
        (json!({"rules": soft}), "rules[1].failure"),
        (json!({"failure": "allow", "rules": soft}), "failure"),
    ] {
        let line =
            format!("{field} is allow: requests pass without a check when the service makes no decision");
        assert_eq!(lines_of(&by_path(more)), [line]);
    }
}

#[test]
fn warns_where_a_client_can_choose_the_address_that_decides() {
    let rule = json!([{"match": {"paths": [{"prefix": "/a"}], "clientIps": ["10.0.0.0/8"]}, "ask": false}]);
    let service = |more: Value| {
        let mut service = json!({"cluster": CLUSTER, "pathPrefix": "/auth"});
        service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        by_path(json!({"service": service}))
    };
    for config in [
        config(json!({})),
        by_path(json!({"rules": rule})),
        by_path(json!({"cache": {"ttl": "1s"}})),
        service(json!({"setHeaders": {"x-client": "${clientIp}"}})),
    ] {
        assert_eq!(lines_of(&config), [FORGEABLE], "{config}");
        let mut trusted = config.clone();
        trusted["clientIp"] = json!({"source": "xForwardedFor"});
        assert_eq!(lines_of(&trusted), [""; 0], "{trusted}");
        let mut off = config;
        off["mode"] = json!("off");
        assert_eq!(lines_of(&off), [""; 0], "{off}");
    }
    for config in [
        by_path(json!({})),
        by_path(json!({"cache": {"ttl": "1s", "key": ["method", "host", "path", "query"]}})),
        service(json!({"setHeaders": {"x-host": "${host}"}})),
    ] {
        assert_eq!(lines_of(&config), [""; 0], "{config}");
    }
}
