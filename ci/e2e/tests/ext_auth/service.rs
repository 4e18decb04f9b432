//! A service that decides by what is in `authorization`, and that misbehaves on demand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;

const RESET: &str = "upstream connect error or disconnect/reset before headers. reset reason: ";

/// The service; it ends with this value.
pub struct Service {
    _runtime: Runtime,
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    asked: AtomicUsize,
    released: Semaphore,
}

impl Service {
    pub fn start() -> Self {
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State { asked: AtomicUsize::new(0), released: Semaphore::new(0) });
        let shared = Arc::clone(&state);
        runtime.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { _runtime: runtime, address, state }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many requests have come.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::SeqCst)
    }

    /// Lets one `held` request be answered.
    pub fn release(&self) {
        self.state.released.add_permits(1);
    }
}

async fn serve(mut stream: TcpStream, state: Arc<State>) -> Option<()> {
    let mut request = Vec::new();
    loop {
        while !request.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut request).await.ok()? == 0 {
                return None;
            }
        }
        let text = String::from_utf8_lossy(&request).into_owned();
        request.clear();
        state.asked.fetch_add(1, Ordering::SeqCst);
        let wanted = text.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap_or_default();
        let (kind, user) = wanted.split_once(' ').unwrap_or((wanted, ""));
        let answer = match kind {
            "good" => allow(user),
            // Long enough for others to ask the same meanwhile.
            "thoughtful" => {
                tokio::time::sleep(Duration::from_millis(50)).await;
                allow(user)
            }
            "held" => {
                state.released.acquire().await.ok()?.forget();
                allow(user)
            }
            "slow" => {
                tokio::time::sleep(Duration::from_secs(600)).await;
                allow(user)
            }
            "broken" => return None,
            "cut" => {
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nab").await.ok()?;
                return None;
            }
            "error" => "HTTP/1.1 500 x\r\ncontent-length: 0\r\n\r\n".into(),
            // As Envoy itself responds to a call whose connection fails, or that takes too long.
            "unreachable" => as_envoy(503, &format!("{RESET}remote connection failure")),
            "overdue" => as_envoy(504, "upstream request timeout"),
            "overloaded" => as_envoy(503, &format!("{RESET}overflow")),
            "redirect" => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                "HTTP/1.1 302 x\r\nlocation: /login\r\ncontent-length: 0\r\n\r\n".into()
            }
            "garbage" => "I am not HTTP\r\n\r\n".into(),
            _ => "HTTP/1.1 401 x\r\nwww-authenticate: Basic\r\ncontent-length: 0\r\n\r\n".into(),
        };
        stream.write_all(answer.as_bytes()).await.ok()?;
    }
}

fn as_envoy(status: u16, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\ncontent-type: text/plain\r\n\r\n{body}")
}

fn allow(user: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nx-user: {user}\r\ncontent-length: 0\r\n\r\n")
}
