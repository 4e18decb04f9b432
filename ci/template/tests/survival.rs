//! Nothing that a client, an application, a configuration or a neighbour says stops the plugin.

use template::Template;

plugin_testkit::hostile!(Template);
