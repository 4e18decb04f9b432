//! The judges: web servers that this project did not write, with the routes of `servers/README.md`.

mod axum_server;

use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use harness::{DebianProgram, eventually, install_once, run_step, workspace_root};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const START: Duration = Duration::from_secs(60);
const LAST_LINES: usize = 20;

/// Where each server listens, in its directory.
const SOCKET: &str = "socket";

/// A running server; it ends with this value.
pub struct Server {
    pub name: &'static str,
    process: Option<Child>,
    directory: TempDir,
}

/// A server that can be installed and started.
struct Recipe {
    name: &'static str,
    /// What the machine must have.
    needs: &'static str,
    /// Whether the machine may lack it.
    optional: bool,
    /// Installs the server and returns the command, which runs in the directory of the socket.
    command: fn() -> Result<Command>,
}

const DEBIAN: &str = "nginx, or apt-get and dpkg to unpack it";
const NODE: &str = "Node.js 18 or newer, with npm";
const PYTHON: &str = "Python 3.10 or newer, with venv";
const GO: &str = "Go 1.22 or newer";
const JAVA: &str = "Java 17 or newer, with Maven";

const RECIPES: [Recipe; 7] = [
    Recipe { name: "nginx", needs: DEBIAN, optional: false, command: || nginx("nginx.conf") },
    Recipe { name: "nginx, twice", needs: DEBIAN, optional: false, command: || nginx("forwarding.conf") },
    Recipe { name: "Express", needs: NODE, optional: false, command: express },
    Recipe { name: "Flask", needs: PYTHON, optional: false, command: || python("flask_server.py") },
    Recipe { name: "Starlette", needs: PYTHON, optional: false, command: || python("starlette_server.py") },
    Recipe { name: "Go", needs: GO, optional: true, command: go },
    Recipe { name: "Tomcat", needs: JAVA, optional: true, command: tomcat },
];

/// Starts every server, and prints the optional ones that do not start, with the reason.
///
/// # Errors
/// Where a server that is not optional does not start.
pub fn start_all() -> Result<Vec<Server>> {
    let started: Vec<(&Recipe, Result<Server>)> =
        RECIPES.iter().map(|recipe| (recipe, recipe.start())).collect();
    let mut servers = vec![Server::axum()?];
    for (Recipe { name, needs, optional, .. }, server) in started {
        match server.and_then(Server::listening) {
            Ok(server) => servers.push(server),
            Err(error) if *optional => println!("{name} is left out, it needs {needs}: {error:#}"),
            Err(error) => return Err(error.context(format!("cannot start {name}, it needs {needs}"))),
        }
    }
    Ok(servers)
}

impl Recipe {
    fn start(&self) -> Result<Server> {
        let directory = tempfile::Builder::new().prefix("server-").tempdir()?;
        let log = fs::File::create(directory.path().join("log"))?;
        let mut command = (self.command)()?;
        let process = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
        Ok(Server { name: self.name, process: Some(process), directory })
    }
}

impl Server {
    fn axum() -> Result<Self> {
        let directory = tempfile::Builder::new().prefix("server-").tempdir()?;
        axum_server::serve(&directory.path().join(SOCKET))?;
        Ok(Self { name: "axum", process: None, directory })
    }

    /// Waits until it listens.
    fn listening(mut self) -> Result<Self> {
        let socket = self.socket();
        let mut exited = None;
        let listens = eventually("the server listens", START, || {
            exited = self.process.as_mut().and_then(|process| process.try_wait().ok().flatten());
            (exited.is_some() || UnixStream::connect(&socket).is_ok()).then_some(())
        });
        if let Some(status) = exited {
            bail!("it ended with {status}:\n{}", self.last_lines());
        }
        listens.with_context(|| format!("the log:\n{}", self.last_lines()))?;
        Ok(self)
    }

    /// The cluster of this server, under its name. Each request has its own connection: a server that closes one when it
    /// rejects a request does not disturb the next.
    pub fn cluster(&self) -> Value {
        let endpoint = json!({"address": {"pipe": {"path": self.socket()}}});
        json!({
            "name": self.name,
            "type": "STATIC",
            "connect_timeout": "5s",
            "load_assignment": {
                "cluster_name": self.name,
                "endpoints": [{"lb_endpoints": [{"endpoint": endpoint}]}],
            },
            "typed_extension_protocol_options": {
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "common_http_protocol_options": {"max_requests_per_connection": 1},
                    "explicit_http_config": {"http_protocol_options": {}},
                },
            },
        })
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join(SOCKET)
    }

    fn last_lines(&self) -> String {
        let log = fs::read(self.directory.path().join("log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log).into_owned();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
            if std::thread::panicking() {
                eprintln!("The last lines of the log of {}:\n{}", self.name, self.last_lines());
            }
        }
    }
}

fn nginx(configuration: &str) -> Result<Command> {
    let nginx = DebianProgram { program: "nginx", package: "nginx", variable: "NGINX" };
    let mut command = Command::new(nginx.locate()?);
    command.args(["-p", ".", "-c"]).arg(source("nginx").join(configuration));
    Ok(command)
}

fn express() -> Result<Command> {
    let pins = ["express/package.json", "express/package-lock.json"];
    let place = install_pinned("express", &pins, "Express from npm", |place| {
        for pin in pins {
            let file = source(pin);
            fs::copy(&file, place.join(file.file_name().unwrap_or_default()))?;
        }
        let ci = ["ci", "--ignore-scripts", "--no-audit", "--no-fund"];
        run_step(Command::new("npm").args(ci).current_dir(place), &install(NODE))
    })?;
    let mut command = Command::new("node");
    command.arg(source("express/server.js"));
    command.env("NODE_PATH", place.join("node_modules")).env("NODE_ENV", "production");
    Ok(command)
}

fn python(server: &str) -> Result<Command> {
    let pins = "python/requirements.txt";
    let place = install_pinned("python", &[pins], "Flask and Starlette from PyPI", |place| {
        run_step(Command::new("python3").args(["-m", "venv"]).arg(place), &install(PYTHON))?;
        let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "-r"];
        run_step(Command::new(place.join("bin/python")).args(pip).arg(source(pins)), &install(PYTHON))
    })?;
    let mut command = Command::new(place.join("bin/python"));
    command.arg("-B").arg(source("python").join(server));
    Ok(command)
}

fn go() -> Result<Command> {
    let pins = ["go/go.mod", "go/main.go"];
    let place = install_pinned("go", &pins, "a server of Go's net/http", |place| {
        let mut build = Command::new("go");
        build.args(["build", "-o"]).arg(place.join("server")).arg(".").current_dir(source("go"));
        run_step(build.env("GOFLAGS", "-buildvcs=false"), &install(GO))
    })?;
    Ok(Command::new(place.join("server")))
}

fn tomcat() -> Result<Command> {
    let pom = "tomcat/pom.xml";
    let place = install_pinned("tomcat", &[pom], "Tomcat from Maven Central", |place| {
        let mut maven = Command::new("mvn");
        maven.args(["--batch-mode", "--quiet", "--file"]).arg(source(pom));
        maven.arg("org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies");
        maven.arg(format!("-DoutputDirectory={}", place.display()));
        run_step(&mut maven, &install(JAVA))
    })?;
    let mut command = Command::new("java");
    command.arg("-cp").arg(place.join("*")).arg(source("tomcat/Server.java"));
    Ok(command)
}

fn install(needs: &str) -> String {
    format!("install {needs}")
}

/// Installs into a directory of `.tools/` whose name changes with the files that pin the versions.
fn install_pinned(
    name: &str,
    pins: &[&str],
    package: &str,
    install: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let mut digest = Sha256::new();
    for pin in pins {
        digest.update(fs::read(source(pin)).with_context(|| format!("cannot read {pin}"))?);
    }
    let digest: String = digest.finalize().iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    install_once(&format!("path-confusion-{name}-{digest}"), package, install)
}

fn source(file: &str) -> PathBuf {
    workspace_root().join("ci/e2e/tests/path_confusion/servers").join(file)
}
