//! A broker in which each feature of the Open Service Broker API occurs: platforms are tested with it.
