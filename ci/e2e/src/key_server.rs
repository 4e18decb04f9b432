//! An issuer's server with its key set, in all the states that such servers get into.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use harness::eventually;

const HOST: (&str, u16) = ("127.0.0.77", 0);
/// Longer than any test.
const HELD: Duration = Duration::from_secs(60);

/// What it answers.
#[derive(Clone, Debug)]
pub enum State {
    /// This, with status 200.
    Body(String),
    /// This, after a while.
    Slow(Duration, String),
    /// Nothing until it is in another state.
    Held,
    /// This status.
    Status(u16),
    /// Nothing: it hangs up.
    Broken,
}

/// The server. It ends with the process.
#[derive(Clone)]
pub struct KeyServer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    asked: Arc<AtomicUsize>,
}

impl KeyServer {
    /// A place where nobody listens yet. On 127.0.0.1 a client of another test could get the port in the meantime.
    pub fn down() -> Self {
        Self::at(TcpListener::bind(HOST).unwrap().local_addr().unwrap(), State::Broken)
    }

    /// A server in this state.
    pub fn start(state: State) -> Self {
        let listener = TcpListener::bind(HOST).unwrap();
        let server = Self::at(listener.local_addr().unwrap(), state);
        server.listen(listener);
        server
    }

    fn at(address: SocketAddr, state: State) -> Self {
        Self { address, state: Arc::new(Mutex::new(state)), asked: Arc::default() }
    }

    /// Begins to listen.
    pub fn up(&self) {
        // A process that is being started has all that was open here, ports too, until it becomes another program.
        let bound = || TcpListener::bind(self.address).ok();
        self.listen(eventually("the port is free", Duration::from_secs(10), bound).unwrap());
    }

    fn listen(&self, listener: TcpListener) {
        let server = self.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = server.clone();
                std::thread::spawn(move || server.serve(stream));
            }
        });
    }

    /// Changes what it answers.
    pub fn set(&self, state: State) {
        *self.state.lock().unwrap() = state;
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How often it has been asked.
    pub fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// The first state that is an answer.
    fn released(&self) -> State {
        let answer =
            || Some(self.state.lock().unwrap().clone()).filter(|state| !matches!(state, State::Held));
        eventually("the key server answers", HELD, answer).unwrap_or(State::Broken)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read(&mut chunk) {
                Ok(read) if read > 0 => request.extend_from_slice(&chunk[..read]),
                _ => return,
            }
        }
        self.asked.fetch_add(1, Ordering::SeqCst);
        let (status, body) = match self.released() {
            State::Body(body) => (200, body),
            State::Slow(time, body) => {
                std::thread::sleep(time);
                (200, body)
            }
            State::Status(status) => (status, String::new()),
            State::Broken | State::Held => return,
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat());
    }
}
