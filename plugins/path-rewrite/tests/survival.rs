//! Nothing that a client, an application, a configuration or a neighbour says stops the plugin.

use path_rewrite::PathRewrite;

plugin_testkit::hostile!(PathRewrite);
