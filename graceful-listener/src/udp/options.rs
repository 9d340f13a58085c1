//! Taking or binding a UDP socket with options.

use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Arc;

use super::{HandoffUdp, Shared, UdpAddr};
use crate::addr::ListenAddr;
use crate::bind::bind_udp;
use crate::check::check_udp;
use crate::error::{Kind, ListenError};
use crate::inherited::{self, Offer, What};
use crate::options::ListenOptions;

/// UDP. Of the options the name, SO_REUSEPORT and IPV6_V6ONLY are for UDP, too.
impl ListenOptions {
    /// Binds, as [`HandoffUdp::bind`].
    ///
    /// # Errors
    ///
    /// Those of [`HandoffUdp::bind`], and [`is_bad_name`](ListenError::is_bad_name).
    pub fn bind_udp<A>(&self, addr: A) -> Result<HandoffUdp, ListenError>
    where
        A: TryInto<UdpAddr, Error: Into<ListenError>>,
    {
        self.check_name()?;
        self.bind_parsed_udp(addr.try_into().map_err(Into::into)?)
    }

    /// Takes the one inherited UDP socket, or the one of the name that is set.
    ///
    /// # Errors
    ///
    /// Those of [`HandoffUdp::from_env`].
    pub fn udp_from_env(&self) -> Result<HandoffUdp, ListenError> {
        let (name, offer) = inherited::one(What::Udp, self.name.as_deref())?;
        self.take_udp(name, offer)
    }

    /// Takes the inherited UDP socket for `addr` or binds one, as
    /// [`HandoffUdp::from_env_or_bind`]. Of several of the same name and address, each call takes
    /// the next.
    ///
    /// # Errors
    ///
    /// Those of [`HandoffUdp::from_env_or_bind`], and [`is_bad_name`](ListenError::is_bad_name).
    pub fn udp_from_env_or_bind<A>(&self, addr: A) -> Result<HandoffUdp, ListenError>
    where
        A: TryInto<UdpAddr, Error: Into<ListenError>>,
    {
        self.check_name()?;
        let addr = addr.try_into().map_err(Into::into)?;
        let wanted = ListenAddr::from(addr.socket_addr());
        match inherited::fitting(What::Udp, self.name.as_deref(), &wanted)? {
            // Known from now on by what this configuration calls it.
            Some((_, offer)) => self.take_udp(addr.to_string(), offer),
            None => self.bind_parsed_udp(addr),
        }
    }

    /// Takes a descriptor, as [`HandoffUdp::from_fd`].
    ///
    /// # Errors
    ///
    /// Those of [`HandoffUdp::from_fd`], and [`is_bad_name`](ListenError::is_bad_name).
    pub fn udp_from_fd(&self, fd: OwnedFd) -> Result<HandoffUdp, ListenError> {
        self.check_name()?;
        let addr = check_udp(fd.as_fd()).map_err(|fault| {
            let fd = fd.as_raw_fd();
            ListenError::new(Kind::Unusable { fd, fault })
        })?;
        Ok(self.udp(UdpAddr::from(addr).to_string(), addr, fd))
    }

    fn bind_parsed_udp(&self, wanted: UdpAddr) -> Result<HandoffUdp, ListenError> {
        let (fd, addr) = bind_udp(wanted, &self.socket)?;
        Ok(self.udp(wanted.to_string(), addr, fd))
    }

    fn take_udp(&self, name: String, offer: Offer) -> Result<HandoffUdp, ListenError> {
        let name = self.name.clone().unwrap_or(name);
        self.clone().name(name).udp_from_fd(offer.fd)
    }

    fn udp(&self, name: String, addr: SocketAddr, fd: OwnedFd) -> HandoffUdp {
        let name = self.name.clone().unwrap_or(name);
        HandoffUdp(Arc::new(Shared::new(name, addr, fd)))
    }
}
