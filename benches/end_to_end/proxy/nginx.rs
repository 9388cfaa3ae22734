//! nginx's configuration: it passes requests on without looking into them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Task, WORKERS};

pub(super) fn config(task: &Task<'_>, directory: &Path) -> io::Result<String> {
    let Task { listen, upstream, .. } = task;
    // Only root can change the user, and only root has to.
    let user = if fs::metadata("/proc/self")?.uid() == 0 { "user root;" } else { "" };
    let directory = directory.display();
    Ok(format!(
        "{user}
daemon off;
worker_processes {WORKERS};
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_max_body_size 0;
    client_body_buffer_size 128k;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    keepalive_timeout 300s;
    keepalive_requests 1000000000;
    upstream sink {{
        server {upstream};
        keepalive 256;
        keepalive_timeout 300s;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen};
        location / {{
            proxy_pass http://sink;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_request_buffering off;
        }}
    }}
}}
"
    ))
}
