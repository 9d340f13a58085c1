//! Binding a Unix listener, also where a dead one left its path.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{Mode, RawMode, chmod, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

use super::bound::{Bound, bind_and_listen, failed};
use super::options::SocketOptions;
use super::path::{BoundPath, Identity};
use crate::addr::ListenAddr;
use crate::addr::{absolute, abstract_name};
use crate::error::{Kind, ListenError};

pub(super) fn bind(path: &Path, options: &SocketOptions) -> Result<Bound, ListenError> {
    let addr = ListenAddr::Unix(absolute(path));
    let socket = open().map_err(failed("open a socket for", &addr))?;
    if let Some(name) = abstract_name(path) {
        let mut at = vec![0];
        at.extend_from_slice(name);
        listen(&socket, bytes_path(&at), &addr, options)?;
        return Ok(Bound {
            fd: socket,
            addr,
            path: None,
        });
    }
    match occupant(path).map_err(failed("look at the path of", &addr))? {
        Occupant::Nobody => listen(&socket, path, &addr, options)?,
        Occupant::Dead => replace(&socket, path, &addr, options)?,
        Occupant::Alive(why) => return Err(in_use(&addr, why)),
    }
    let identity = identify(path, &addr)?;
    let bound = BoundPath::new(absolute(path), identity);
    Ok(Bound {
        fd: socket,
        addr,
        path: Some(bound),
    })
}

/// Who is behind a path.
enum Occupant {
    Nobody,
    /// A socket file whose listener is gone.
    Dead,
    Alive(&'static str),
}

/// Asks the only one who knows, the kernel, by connecting. A full queue answers EAGAIN: alive.
fn occupant(path: &Path) -> io::Result<Occupant> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Occupant::Nobody),
        Err(error) => return Err(error),
        Ok(_) if Identity::of_socket(path).is_none() => {
            return Ok(Occupant::Alive(
                "the path is a file that is no socket; choose another",
            ));
        }
        Ok(_) => {}
    }
    let probe: Socket = open()?.into();
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Occupant::Dead),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Occupant::Nobody),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Err(error),
        _ => Ok(Occupant::Alive(
            "a living server answers at this path; stop it first",
        )),
    }
}

/// Puts the socket in the place of a dead one. It listens before it gets the name, so no client
/// finds the path missing or refused in between.
fn replace(
    socket: &OwnedFd,
    path: &Path,
    addr: &ListenAddr,
    options: &SocketOptions,
) -> Result<(), ListenError> {
    let temporary = sibling(path);
    listen(socket, &temporary, addr, options)?;
    let identity = identify(&temporary, addr)?;
    if let Err(error) = std::fs::rename(&temporary, path) {
        let _ = std::fs::remove_file(&temporary);
        return Err(failed("replace the dead socket at", addr)(error));
    }
    match Identity::of_socket(path) == Some(identity) {
        true => Ok(()),
        false => Err(in_use(
            addr,
            "another server took the path in the same instant",
        )),
    }
}

fn listen(
    socket: &OwnedFd,
    path: &Path,
    addr: &ListenAddr,
    options: &SocketOptions,
) -> Result<(), ListenError> {
    let at = SockAddr::unix(path).map_err(failed("name", addr))?;
    let Some(mode) = options
        .mode
        .map(|bits| Mode::from_bits_truncate(bits as RawMode))
    else {
        return bind_and_listen(socket, &at, addr, options.backlog);
    };
    // On Linux the file takes its mode from the socket, less the umask; elsewhere this fails.
    let _ = fchmod(socket, mode);
    bind_and_listen(socket, &at, addr, options.backlog)?;
    let is_file = path.as_os_str().as_encoded_bytes().first() != Some(&0);
    match is_file.then(|| chmod(path, mode)) {
        Some(Err(error)) => Err(failed("set the mode of", addr)(error.into())),
        _ => Ok(()),
    }
}

fn identify(path: &Path, addr: &ListenAddr) -> Result<Identity, ListenError> {
    Identity::of_socket(path)
        .ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
        .map_err(failed("find the path just bound for", addr))
}

fn in_use(addr: &ListenAddr, why: &'static str) -> ListenError {
    ListenError::new(Kind::AddrInUse {
        addr: addr.to_string(),
        why,
    })
}

fn open() -> io::Result<OwnedFd> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A short name in the same folder (a rename does not cross file systems) that nobody else uses;
/// what an earlier process with our number left there is in nobody's way.
fn sibling(path: &Path) -> PathBuf {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let name = format!(".{:x}.{count:x}", std::process::id());
    let temporary = path.with_file_name(name);
    let _ = std::fs::remove_file(&temporary);
    temporary
}

fn bytes_path(bytes: &[u8]) -> &Path {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(bytes))
}
