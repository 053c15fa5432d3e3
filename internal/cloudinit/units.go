package cloudinit

// Units are the units of cloud-init's stages, by all names that they have had.
var Units = []string{
	"cloud-init-main.service", "cloud-init-local.service", "cloud-init.service", "cloud-init-network.service",
	"cloud-config.service", "cloud-final.service",
}
