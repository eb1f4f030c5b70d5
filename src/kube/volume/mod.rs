//! Volumes: who gets which, who makes them, where they are attached.
//!
//! | question | upstream | module |
//! |---|---|---|
//! | which volume suits a claim | component-helpers | [`matching`] |
//! | who is bound to whom | persistentvolume-controller | [`binder`], [`bind_loop`] |
//! | who makes and removes them | external-provisioner | [`provision`] |
//! | what is attached where, and when it may leave | attach/detach controller | [`attach_detach`] |
//! | what the driver does | external-provisioner, external-attacher | [`driver`] |
//! | what the cloud does | the driver's cloud | [`cloud`] |

pub mod matching;

pub mod binder;

pub mod provision;

pub mod attach_detach;

pub mod cloud;

mod wake;

pub mod bind_loop;

pub mod driver;
