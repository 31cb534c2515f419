//! The one dependency of a broker author.

pub use osb_engine::{
    Binding, BindingMetadata, Broker, Endpoint, Error, Execution, InstanceMetadata, NoParameters, Operation, Policy,
    Result, Service, VolumeMount,
};
