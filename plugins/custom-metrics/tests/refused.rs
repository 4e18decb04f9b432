//! Every mistake in a configuration is refused with one line that names the field and says what would be right.

use custom_metrics::CustomMetrics;
use plugin_testkit::Envoy;

/// A configuration, and the line without its `invalid configuration: `.
const MISTAKES: &[(&str, &str)] = &[
    ("", "no configuration was given; missing field `metrics`"),
    ("[]", "expected struct Config, not a sequence"),
    (
        r#"{"metric": []}"#,
        "metric: unknown field `metric`, expected one of `mode`, `configRevision`, `clientIp`, `paths`, `defaults`, `metrics`",
    ),
    (
        r#"{"metrics": [], "mode": "on"}"#,
        "mode: unknown variant `on`, expected one of `enforce`, `dryRun`, `off`",
    ),
    (r#"{"metrics": [{"type": "counter"}]}"#, "metrics[0]: missing field `name`"),
    (r#"{"metrics": [{"name": "a_total"}]}"#, "metrics[0]: missing field `type`"),
    (
        r#"{"metrics": [{"name": "a", "type": "summary"}]}"#,
        "metrics[0].type: unknown variant `summary`, expected one of `counter`, `gauge`, `histogram`",
    ),
    (
        r#"{"metrics": [{"name": "9x_total", "type": "counter"}]}"#,
        "metrics[0].name: \"9x_total\" is not a metric's name: [a-zA-Z_][a-zA-Z0-9_]*",
    ),
    (
        r#"{"metrics": [{"name": "a.b_total", "type": "counter"}]}"#,
        "metrics[0].name: \"a.b_total\" is not a metric's name: [a-zA-Z_][a-zA-Z0-9_]*",
    ),
    (
        r#"{"metrics": [{"name": "", "type": "counter"}]}"#,
        "metrics[0].name: \"\" is not a metric's name: [a-zA-Z_][a-zA-Z0-9_]*",
    ),
    (
        r#"{"metrics": [{"name": "wasm_filter_custom_metrics_undecided_total", "type": "counter"}]}"#,
        "metrics[0].name: \"wasm_filter_custom_metrics_undecided_total\" must not begin with wasm_filter, as these plugins' own metrics do",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter"}, {"name": "istio_requests_total", "type": "counter"}]}"#,
        "metrics[1].name: \"istio_requests_total\" must not begin with istio_, as Istio's own metrics do",
    ),
    (
        r#"{"metrics": [{"name": "envoy_cluster_upstream_rq_total", "type": "counter"}]}"#,
        "metrics[0].name: \"envoy_cluster_upstream_rq_total\" must not begin with envoy_, as Envoy's own metrics do",
    ),
    (
        r#"{"metrics": [{"name": "skipped_total", "type": "counter"}]}"#,
        "metrics[0].name: \"skipped_total\" is the name of one of this plugin's own metrics",
    ),
    (
        r#"{"metrics": [{"name": "series", "type": "gauge", "value": "activeRequests"}]}"#,
        "metrics[0].name: \"series\" is the name of one of this plugin's own metrics",
    ),
    (
        r#"{"metrics": [{"name": "requests", "type": "counter"}]}"#,
        "metrics[0].name: \"requests\" is a counter, so it must end in _total",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "gauge", "value": "activeRequests"}]}"#,
        "metrics[0].name: \"a_total\" is no counter, so it must not end in _total",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter"}, {"name": "a_total", "type": "counter"}]}"#,
        "metrics[1].name: \"a_total\" is the name of metrics[0] already",
    ),
    (
        r#"{"metrics": [{"name": "h", "type": "histogram", "value": "requestSize"}, {"name": "h_count", "type": "gauge", "value": "header:x"}]}"#,
        "metrics[1].name: \"h_count\" and \"h\" collide: the histogram \"h\" has _bucket, _sum and _count",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"a-b": {"method": true}}}]}"#,
        "metrics[0].labels.a-b: \"a-b\" is not a label's name: [a-zA-Z_][a-zA-Z0-9_]*, and not two _ at the start",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"__a": {"method": true}}}]}"#,
        "metrics[0].labels.__a: \"__a\" is not a label's name: [a-zA-Z_][a-zA-Z0-9_]*, and not two _ at the start",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"le": {"method": true}}}]}"#,
        "metrics[0].labels.le: \"le\" is a label that Istio or Prometheus has already",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"role": {"method": true}}}]}"#,
        "metrics[0].labels.role: \"role\" ends in \"le\": Istio would find the label \"le\" in \"role\", so rename one of them",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"filter": {"method": true}}}]}"#,
        "metrics[0].labels.filter: \"wasm_filter\" ends in \"filter\": Istio would find the label \"filter\" in \"wasm_filter\", so rename one of them",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"method": {"method": true}, "request_method": {"method": true}}}]}"#,
        "metrics[0].labels.request_method: \"request_method\" ends in \"method\": Istio would find the label \"method\" in \"request_method\", so rename one of them",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"grpc_status": {"grpcStatus": true}}}, {"name": "b_total", "type": "counter", "labels": {"status": {"status": true}}}]}"#,
        "metrics[0].labels.grpc_status: \"grpc_status\" ends in \"status\": Istio would find the label \"status\" in \"grpc_status\", so rename one of them",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"a": {"method": true}, "a": {"method": true}}}]}"#,
        "metrics[0].labels.a: is given twice",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {}}}]}"#,
        "metrics[0].labels.b: needs exactly one of pathTemplate, method, status, statusClass, grpcStatus, source, not 0",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"method": true, "status": true}}}]}"#,
        "metrics[0].labels.b: needs exactly one of pathTemplate, method, status, statusClass, grpcStatus, source, not 2",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"method": false}}}]}"#,
        "metrics[0].labels.b.method: can only be true; leave it out",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"header": "x"}}}]}"#,
        "metrics[0].labels.b.header: unknown field `header`, expected one of `pathTemplate`, `method`, `status`, `statusClass`, `grpcStatus`, `source`, `allow`, `otherwise`",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": []}}}]}"#,
        "metrics[0].labels.b.source: needs at least one value source",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": ["host", "header:"]}}}]}"#,
        "metrics[0].labels.b.source[1]: \"header\" needs a name after the colon",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": "responseHeader:a b"}}}]}"#,
        "metrics[0].labels.b.source: \"a b\" is not the name of a header",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": "path"}}}]}"#,
        "metrics[0].labels.b.source: \"path\" has as many values as a client likes; write pathTemplate: true instead of a source",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": ["query:q"]}}}]}"#,
        "metrics[0].labels.b.source: \"query:q\" would make a label of a query, which anyone can fill; for the path there is pathTemplate: true",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": "property:request.path"}}}]}"#,
        "metrics[0].labels.b.source: \"property:request.path\" would make a label of a query, which anyone can fill; for the path there is pathTemplate: true",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"method": true, "allow": ["GET"]}}}]}"#,
        "metrics[0].labels.b.allow: goes with a source",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": "host", "otherwise": "x"}}}]}"#,
        "metrics[0].labels.b.otherwise: goes with allow",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": "host", "allow": []}}}]}"#,
        "metrics[0].labels.b.allow: is empty and would allow nothing",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "labels": {"b": {"source": "host", "allow": ["a", "b;c"]}}}]}"#,
        "metrics[0].labels.b.allow[1]: \"b;c\" must have no ';', '=.=' and controls",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "value": "two"}]}"#,
        "metrics[0].value: \"two\" is none of one, requestDuration, requestSize, responseSize, activeRequests, nor a value source such as header:x-cost",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "value": "activeRequests"}]}"#,
        "metrics[0].value: activeRequests is for a gauge",
    ),
    (
        r#"{"metrics": [{"name": "a", "type": "gauge"}]}"#,
        "metrics[0].value: a gauge that is always one says nothing; there is activeRequests",
    ),
    (
        r#"{"metrics": [{"name": "a", "type": "histogram"}]}"#,
        "metrics[0].value: a histogram of ones says nothing; there is requestDuration",
    ),
    (
        r#"{"metrics": [{"name": "a", "type": "gauge", "value": "activeRequests", "labels": {"b": {"statusClass": true}}}]}"#,
        "metrics[0].labels.b.statusClass: is known only with the response, and activeRequests is counted when the request begins",
    ),
    (
        r#"{"metrics": [{"name": "a", "type": "gauge", "value": "activeRequests", "labels": {"b": {"source": "responseHeader:x"}}}]}"#,
        "metrics[0].labels.b.source: is known only with the response, and activeRequests is counted when the request begins",
    ),
    (
        r#"{"metrics": [{"name": "a", "type": "gauge", "value": "activeRequests", "when": {"statuses": ["2xx"]}}]}"#,
        "metrics[0].when.statuses: is known only with the response, and activeRequests is counted when the request begins",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "when": {"statuses": ["2xx", "2x"]}}]}"#,
        "metrics[0].when.statuses[1]: \"2x\" is neither a status such as 404 nor a class such as 5xx",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "when": {"statuses": []}}]}"#,
        "metrics[0].when.statuses: is empty and would mean nothing; leave it out to mean everything",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "match": {"paths": [{"prefix": "api"}]}}]}"#,
        "metrics[0].match.paths[0].prefix: \"api\" must start with '/'",
    ),
    (
        r#"{"metrics": [], "paths": {"templates": ["users"]}}"#,
        "paths.templates[0]: \"users\" must start with '/'",
    ),
    (
        r#"{"metrics": [], "paths": {"templates": ["/a", "/a"]}}"#,
        "paths.templates[1]: \"/a\" is there already",
    ),
    (
        r#"{"metrics": [], "paths": {"unmatched": "path"}}"#,
        "paths.unmatched: unknown variant `path`, expected `auto` or `other`",
    ),
    (
        r#"{"metrics": [], "defaults": {"maxSeries": 0}}"#,
        "defaults.maxSeries: must be from 1 to 10000, not 0",
    ),
    (
        r#"{"metrics": [{"name": "a_total", "type": "counter", "maxSeries": 10001}]}"#,
        "metrics[0].maxSeries: must be from 1 to 10000, not 10001",
    ),
    (
        r#"{"metrics": [], "defaults": {"maxLabelLength": 7}}"#,
        "defaults.maxLabelLength: must be from 8 to 1024, not 7",
    ),
    (
        r#"{"metrics": [], "defaults": {"overflowValue": "a=.=b"}}"#,
        "defaults.overflowValue: \"a=.=b\" must have no ';', '=.=' and controls",
    ),
    (r#"{"metrics": [], "defaults": {"missing": ""}}"#, "defaults.missing: must not be empty"),
    (
        r#"{"metrics": [], "clientIp": {"trustedHops": 0}}"#,
        "clientIp.trustedHops: must be from 1 to 32, not 0",
    ),
];

#[test]
fn each_mistake_is_named() {
    assert!(MISTAKES.len() >= 30);
    for (config, line) in MISTAKES {
        assert_eq!(
            Envoy::refused::<CustomMetrics>(config),
            [format!("invalid configuration: {line}")],
            "{config}"
        );
    }
}
