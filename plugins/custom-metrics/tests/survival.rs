//! Nothing that a client, an application, a configuration or a neighbour says stops the plugin.

use custom_metrics::CustomMetrics;

plugin_testkit::hostile!(CustomMetrics);
