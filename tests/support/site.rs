//! Where one Sluice runs after the other.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use socket2::{Domain, Socket, Type};

use super::router::write_config;
use super::{Front, SluiceProcess};

/// A directory and addresses that outlive the processes there: what one leaves, the next one finds, and its senders find
/// that. `@DIR@` in a configuration stands for the directory.
pub struct Site {
    directory: Arc<tempfile::TempDir>,
    otlp: HeldAddress,
    admin: HeldAddress,
}

/// An address on the loopback that is bound, but at which nobody listens. The system gives it to nobody else meanwhile,
/// be it for a listener or for the near end of a connection.
pub struct HeldAddress {
    address: SocketAddr,
    _socket: Socket,
}

impl Site {
    /// A place where nothing has been yet.
    pub fn new() -> Self {
        let directory = Arc::new(tempfile::tempdir().expect("there is a temporary directory"));
        Self { directory, otlp: HeldAddress::any(), admin: HeldAddress::any() }
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Where a Sluice here can be asked, while there is one.
    pub fn front(&self) -> Front {
        Front { otlp: self.otlp.address, admin: self.admin.address }
    }

    /// Writes the configuration, which names no listeners but perhaps that for `admin`, at `@ADMIN@`; one that runs reads it, too.
    pub fn configure(&self, yaml: &str) -> PathBuf {
        let (otlp, admin) = (self.otlp.address, self.admin.address);
        let mut text =
            format!("receivers: {{ otlp: {{ protocols: {{ http: {{ endpoint: '{otlp}' }} }} }} }}\n{yaml}");
        if !text.lines().any(|line| line.starts_with("admin:")) {
            text = format!("admin: {{ endpoint: '@ADMIN@' }}\n{text}");
        }
        write_config(self.directory(), &text.replace("@ADMIN@", &admin.to_string()))
    }

    /// Starts a process with this configuration and these variables, and does not wait for anything.
    pub fn launch(&self, yaml: &str, variables: &[(&str, &str)]) -> SluiceProcess {
        let config = self.configure(yaml);
        SluiceProcess::launch_at(&self.directory, &config, variables, self.front())
    }

    /// Starts a process and waits until it accepts.
    pub async fn start(&self, yaml: &str) -> SluiceProcess {
        let process = self.launch(yaml, &[]);
        process.ready().await;
        process
    }
}

impl HeldAddress {
    /// A free one.
    pub fn any() -> Self {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
        // Both sides allow it, so the address can be listened at beside this socket, which doesn't listen.
        socket.set_reuse_address(true).expect("it is a socket");
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).expect("there is a free port");
        let address = socket.local_addr().expect("it is bound").as_socket().expect("it is an address");
        Self { address, _socket: socket }
    }

    /// The address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
