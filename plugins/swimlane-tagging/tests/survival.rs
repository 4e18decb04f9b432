//! Nothing that a client, an application, a configuration or a neighbour says stops the plugin.

use swimlane_tagging::SwimlaneTagging;

/// Lanes that are remembered in the shared data.
const MESH: &str = r#"{"incoming": {"trust": "always"}, "lanes": ["production", "canary"],
    "propagate": {"mesh": {"enabled": true, "slots": 64}}}"#;

plugin_testkit::hostile!(SwimlaneTagging, MESH);
