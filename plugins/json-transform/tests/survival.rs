//! Nothing that a client, an application, a configuration or a neighbour says stops the plugin.

use json_transform::JsonTransform;

plugin_testkit::hostile!(JsonTransform);
