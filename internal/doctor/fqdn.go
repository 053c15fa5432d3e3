package doctor

// fqdn reports whether the next boot may change the VM's FQDN: it does not where
// cloud-init has recorded the FQDN of this instance. See internal/seed/name.go.
func (m *machine) fqdn() Check {
	known := m.boot.Datasource != "" && m.boot.Instance != "" && m.boot.CloudID != "none"
	if known && m.files.RecordedFQDN(m.boot.Instance) == "" {
		return info("cloud-init has not recorded this instance's FQDN: if the network has a domain, the FQDN has it from the next boot on")
	}
	return ok("")
}
