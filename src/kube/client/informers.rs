//! One cache per kind and program: client-go's shared informer factory.

use std::any::{Any, TypeId};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use super::{Client, Informer};
use crate::base::lock;
use crate::kube::kind::ApiObject;

/// The informers of a program, each begun when it is first asked for. Cloning shares them.
#[derive(Clone)]
pub struct Informers(Arc<Inner>);

struct Inner {
    client: Client,
    by_type: Mutex<BTreeMap<TypeId, Box<dyn Any + Send>>>,
}

impl Informers {
    /// None yet.
    pub fn new(client: Client) -> Self {
        Self(Arc::new(Inner { client, by_type: Mutex::default() }))
    }

    /// What they ask.
    pub fn client(&self) -> &Client {
        &self.0.client
    }

    /// The informer of all objects of a kind.
    pub fn of<K: ApiObject>(&self) -> Informer<K> {
        let mut by_type = lock(&self.0.by_type);
        let known = by_type.get(&TypeId::of::<K>()).and_then(|informer| informer.downcast_ref::<Informer<K>>());
        if let Some(informer) = known {
            return informer.clone();
        }
        let informer = Informer::all(&self.0.client);
        by_type.insert(TypeId::of::<K>(), Box::new(informer.clone()));
        informer
    }
}
